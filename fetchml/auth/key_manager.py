"""What admins do with API keys."""

import asyncio

from fetchml.auth.audit import Audit
from fetchml.auth.keyring import Keyring
from fetchml.core.audit import Action
from fetchml.core.model import Key, Principal, Role
from fetchml.errors import Forbidden


class KeyManager:
    """Every verb raises Forbidden for who is no admin."""

    def __init__(self, keyring: Keyring, audit: Audit) -> None:
        self._keyring = keyring
        self._audit = audit

    async def create(
        self, who: Principal, name: str, role: Role, expires_at: int | None = None
    ) -> tuple[Key, str]:
        """A new key and its secret, which is not kept. Raises ValidationFailed."""
        _must_be_admin(who)
        # To the end, even when the caller leaves in between.
        return await asyncio.shield(asyncio.create_task(self._create(who, name, role, expires_at)))

    def list(self, who: Principal) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        _must_be_admin(who)
        return self._keyring.list()

    async def revoke(self, who: Principal, key_id: str) -> Key:
        """It stops working at once, and ends what it holds open. Raises NotFound."""
        _must_be_admin(who)
        return await asyncio.shield(asyncio.create_task(self._revoke(who, key_id)))

    async def _create(
        self, who: Principal, name: str, role: Role, expires_at: int | None
    ) -> tuple[Key, str]:
        key, secret = await self._keyring.create(name, role, expires_at)
        await self._audit.done(who, Action.KEY_CREATE, key.id, f"{role} {name}")
        return key, secret

    async def _revoke(self, who: Principal, key_id: str) -> Key:
        key = await self._keyring.revoke(key_id)
        await self._audit.done(who, Action.KEY_REVOKE, key_id, key.name)
        return key


def _must_be_admin(who: Principal) -> None:
    if who.role is not Role.ADMIN:
        raise Forbidden("Only admins manage keys")
