"""Management of API keys by admins, with its audit."""

from collections.abc import Mapping

from fetchml.auth.audit import Audit
from fetchml.auth.keyring import Keyring
from fetchml.core.audit import Action
from fetchml.core.model import Key, Principal, Role
from fetchml.core.permissions import AdminOnly, refusal
from fetchml.core.requests import key as key_rules
from fetchml.errors import FieldViolation, ValidationFailed, forbid
from fetchml.system.background import BackgroundWork


class KeyManager:
    """Creates, lists and revokes keys for admins. Every verb raises Forbidden for other callers."""

    def __init__(self, keyring: Keyring, audit: Audit) -> None:
        self._keyring = keyring
        self._audit = audit
        self._background = BackgroundWork()

    async def create(self, who: Principal, fields: Mapping[str, object]) -> tuple[Key, str]:
        """Create the key of a request in JSON; returns it and its secret, which is not kept. Raises
        ValidationFailed."""
        _require_admin(who)
        new, wrong = key_rules.read(fields)
        if new is None:
            raise ValidationFailed([FieldViolation(*violation) for violation in wrong])
        return await self._background.run_to_completion(self._create(who, *new))

    def list(self, who: Principal) -> list[Key]:
        """Return all keys, revoked ones too, oldest first."""
        _require_admin(who)
        return self._keyring.list()

    async def revoke(self, who: Principal, key_id: str) -> Key:
        """Revoke a key and end all that it holds open. Raises NotFound."""
        _require_admin(who)
        return await self._background.run_to_completion(self._revoke(who, key_id))

    async def _create(
        self, who: Principal, name: str, role: Role | None, expires_at: int | None
    ) -> tuple[Key, str]:
        key, secret = await self._keyring.create(name, role, expires_at)
        await self._audit.done(who, Action.KEY_CREATE, key.id, f"{key.role} {name}")
        return key, secret

    async def _revoke(self, who: Principal, key_id: str) -> Key:
        key = await self._keyring.revoke(key_id)
        await self._audit.done(who, Action.KEY_REVOKE, key_id, key.name)
        return key


def _require_admin(who: Principal) -> None:
    forbid(refusal(who, AdminOnly.KEYS))
