"""The calls for kept environments."""

from fetchml.client import environment_rpcs
from fetchml.client.aio.secrets import AsyncSecrets
from fetchml.v1.environment_pb2 import ListEnvironmentsResponse


class AsyncEnvironments(AsyncSecrets):
    async def environments(
        self, *, user_id: str = "", limit: int = 50, offset: int = 0
    ) -> ListEnvironmentsResponse:
        """Return your environments, the last used first; for admins those of all users, or of
        `user_id`. `limit`: at most 1000."""
        return await self.call(environment_rpcs.list_environments(user_id, limit, offset))

    async def delete_environment(self, environment_id: str) -> None:
        """Remove an environment that no task uses; the next task builds it again. Raises NotFound,
        Conflict."""
        await self.call(environment_rpcs.delete_environment(environment_id))
