"""API keys: the keyring that holds them, the first admin key, and their management by admins."""

import asyncio
import contextlib
import functools
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core.audit import Action
from fetchml.core.model import Key, Principal, Role
from fetchml.core.permissions import AdminOnly, refusal
from fetchml.core.requests import key as key_rules
from fetchml.errors import FieldViolation, NotFound, Unauthorized, ValidationFailed, forbid
from fetchml.ports.store import Store
from fetchml.system.background import BackgroundWork, every

LAST_USED_EVERY_SECONDS = 60
EXPIRY_CHECK_SECONDS = 60
"""Longest delay of a key's expiry after the host's clock was set forward."""

KEY_REVOKED = "The key was revoked"
KEY_EXPIRED = "The key has expired"

log = logging.getLogger(__name__)


def new_secret() -> str:
    return f"fml_{secrets.token_urlsafe(32)}"


@functools.lru_cache(maxsize=256)
def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Keyring:
    """All keys, in memory and in the store. Used from one event loop.

    A key is looked up by the SHA-256 of its secret, so the time of a comparison reveals nothing
    about the secret. A revoked key is invalid before `revoke` returns, and all that it holds open
    has been ended.
    """

    def __init__(
        self, store: Store, *, clock_ms: Callable[[], int], new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._new_id = new_id
        self._by_id: dict[str, Key] = {}
        self._by_digest: dict[str, Key] = {}
        self._unsaved_use: dict[str, int] = {}
        """Key id → time of its last use, if the store has an older one."""
        self._held: dict[str, set[Callable[[str], None]]] = {}
        """Key id → callbacks that end what the key holds open."""
        self._writing = asyncio.Lock()
        """Held from reading a record to storing it, so that no stale record undoes a change."""

    async def load(self) -> None:
        for key in await self._store.list_keys():
            self._remember(key)

    def find(self, secret: str) -> Key | None:
        """Return the key with this secret and note its use; `None` if no valid key has it."""
        key = self._by_digest.get(digest_of(secret))
        if key is None:
            return None
        now = self._clock_ms()
        if _fault(key, now) is not None:
            return None
        self._unsaved_use[key.id] = now
        return key

    def use(self, key_id: str) -> Key | None:
        """Return the key with this id and note its use; `None` if it is not valid."""
        key, now = self._by_id.get(key_id), self._clock_ms()
        if key is None or _fault(key, now) is not None:
            return None
        self._unsaved_use[key.id] = now
        return key

    def now(self) -> int:
        """Return the time that keys expire by: milliseconds since the epoch (UTC)."""
        return self._clock_ms()

    def check(self, key_id: str) -> None:
        """Raise Unauthorized if the key is invalid now."""
        key = self._by_id[key_id]
        if key.revoked_at is None and key.expires_at is None:
            return  # Nearly always: the clock need not be read.
        if (reason := _fault(key, self._clock_ms())) is not None:
            raise Unauthorized(reason)

    @contextlib.contextmanager
    def while_valid(self, key_id: str, end: Callable[[str], None]) -> Iterator[None]:
        """While inside, `end` is called with the reason as soon as the key becomes invalid.

        Raises Unauthorized if the key is invalid already.
        """
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def check_validity() -> None:
            nonlocal timer
            key, now = self._by_id[key_id], self._clock_ms()
            if (reason := _fault(key, now)) is not None:
                end(reason)
            elif key.expires_at is not None:
                delay = min((key.expires_at - now) / 1000, EXPIRY_CHECK_SECONDS)
                timer = loop.call_later(delay, check_validity)

        self.check(key_id)
        holders = self._held.setdefault(key_id, set())
        holders.add(end)
        check_validity()
        try:
            yield
        finally:
            holders.discard(end)
            if timer is not None:
                timer.cancel()

    async def create(
        self, name: str, role: Role | None, expires_at: int | None = None
    ) -> tuple[Key, str]:
        """Create a key; returns it and its secret, which is not kept. Raises ValidationFailed."""
        secret = new_secret()
        return await self.add(secret, name, role, expires_at), secret

    async def add(
        self, secret: str, name: str, role: Role | None, expires_at: int | None = None
    ) -> Key:
        """Create a key with a secret that the caller has chosen. Raises ValidationFailed."""
        now = self._clock_ms()
        violations = [FieldViolation(*v) for v in key_rules.violations(name, role, expires_at, now)]
        if violations or role is None:
            raise ValidationFailed(violations)
        key = Key(self._new_id(), digest_of(secret), name, role, now, expires_at)
        async with self._writing:
            await self._store.put_key(key)
            self._remember(key)
        log.info("key created", extra={"key_id": key.id, "key_name": name, "role": str(role)})
        return key

    async def revoke(self, key_id: str) -> Key:
        """Revoke a key; a revoked one stays as it is. Raises NotFound."""
        async with self._writing:
            key = self._by_id.get(key_id)
            if key is None:
                raise NotFound(f"Key {key_id} not found")
            if key.revoked_at is not None:
                return key
            key = replace(key, revoked_at=self._clock_ms())
            # Invalid from now on, even if the disk is slow or fails.
            self._remember(key)
            for end in self._held.pop(key_id, ()):
                end(KEY_REVOKED)
            await self._store.put_key(key)
        log.info("key revoked", extra={"key_id": key.id, "key_name": key.name})
        return key

    def list(self) -> list[Key]:
        """Return all keys, revoked ones too, oldest first."""
        return sorted(map(self._with_use, self._by_id.values()), key=lambda key: key.id)

    @contextlib.asynccontextmanager
    async def saving_use(self) -> AsyncIterator[None]:
        """While inside, `last_used_at` is stored once a minute, and a last time at the end."""
        try:
            async with every(
                LAST_USED_EVERY_SECONDS, self.save_use, failure="saving the last use of keys failed"
            ):
                yield
        finally:
            await self.save_use()

    async def save_use(self) -> None:
        for key_id in list(self._unsaved_use):
            async with self._writing:
                key = self._with_use(self._by_id[key_id])
                self._unsaved_use.pop(key_id, None)
                self._remember(key)
                await self._store.put_key(key)

    def _with_use(self, key: Key) -> Key:
        used_at = self._unsaved_use.get(key.id)
        return key if used_at is None else replace(key, last_used_at=used_at)

    def _remember(self, key: Key) -> None:
        self._by_id[key.id] = key
        self._by_digest[key.digest] = key


def _fault(key: Key, now: int) -> str | None:
    """Return why the key is invalid, or `None` if it is valid."""
    if key.revoked_at is not None:
        return KEY_REVOKED
    if key.expires_at is not None and key.expires_at <= now:
        return KEY_EXPIRED
    return None


class BadAdminKey(Exception):
    """FETCHML_ADMIN_KEY cannot be used; the message gives the reason, without the key."""


async def ensure_admin(
    keyring: Keyring, wanted: str | None, keep: Callable[[str], None]
) -> str | None:
    """Make the first admin key if the server has no key at all.

    `wanted` (FETCHML_ADMIN_KEY) becomes that key. Without it a new key is made, handed to `keep`,
    which writes it to a file, and returned, to be shown once. Raises BadAdminKey.
    """
    if keyring.list():
        if wanted and keyring.find(wanted) is None:
            log.warning(
                "FETCHML_ADMIN_KEY is not a key of this server: it is used only at the first "
                "start; create keys with 'fetchml keys create'"
            )
        return None
    if wanted:
        if not re.fullmatch(r"[!-~]{16,256}", wanted):
            raise BadAdminKey("FETCHML_ADMIN_KEY must be 16 to 256 visible ASCII characters")
        await keyring.add(wanted, "admin", Role.ADMIN)
        return None
    secret = new_secret()
    # The file first: a key that nobody can read must never be the only one.
    keep(secret)
    await keyring.add(secret, "admin", Role.ADMIN)
    return secret


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
