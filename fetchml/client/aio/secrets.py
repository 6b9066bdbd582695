"""The calls for secrets."""

from fetchml.client import secret_rpcs
from fetchml.client.aio.sweeps import AsyncSweeps
from fetchml.v1.secret_pb2 import Secret


class AsyncSecrets(AsyncSweeps):
    async def set_secret(self, name: str, value: str) -> Secret:
        """Create a secret or replace its value. Attempts of tasks that start later get it.

        A task names it: `submit(…, secrets=["HF_TOKEN", "KEY:file"])`.
        """
        return await self.call(secret_rpcs.set_secret(name, value))

    async def secrets(self, *, user_id: str = "") -> list[Secret]:
        """Return your secrets by name, without their values; for admins those of `user_id`."""
        return [*(await self.call(secret_rpcs.list_secrets(user_id))).secrets]

    async def delete_secret(self, name: str, *, user_id: str = "") -> None:
        """Remove a secret; for admins one of `user_id`. Raises NotFound."""
        await self.call(secret_rpcs.delete_secret(name, user_id))
