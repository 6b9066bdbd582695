"""Who may call: API keys, and how often each may."""

import asyncio
import contextlib
import functools
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, NoReturn

import msgspec

from fetchml.auth.limits import RateLimiter, RateState
from fetchml.auth.open_streams import OpenStreams
from fetchml.config.proxies import Proxies, caller_of
from fetchml.core.model import Key, Principal, Role
from fetchml.errors import FieldViolation, NotFound, RateLimited, Unauthorized, ValidationFailed
from fetchml.ports.store import Store

LAST_USED_EVERY_SECONDS = 60
LOOK_AT_EXPIRY_SECONDS = 60
"""So late at the most is it noticed that the machine's clock was set forward."""
WRONG_KEYS_PER_SECOND = 5
WRONG_KEYS_BURST = 50
STREAMS_PER_KEY = 1_000
STREAMS_PER_ADDRESS = 50
"""Of those that show no key (the standard gRPC services, which need none)."""
KEYLESS_STREAMS = 500
"""Of all addresses together, without a key: far fewer than calls that the server takes."""
KEYLESS_CALLS_PER_ADDRESS = 16
"""Calls without a key that are answered once (`Health/Check`). They have places of their own,
so that streams without a key keep no probe out."""
KEYLESS_CALLS = 256
"""Of all addresses together."""

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

    A key is found by the SHA-256 of its secret, so no comparison tells how much of a guess was
    right. A revoked key stops working before `revoke` returns, and so does what it holds open.
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
        """Key id → when it was last used, as far as the store does not know it."""
        self._held: dict[str, set[Callable[[str], None]]] = {}
        """Key id → what ends with the key."""
        self._writing = asyncio.Lock()
        """Held from reading a record to storing it, so that no stale record undoes a change."""

    async def load(self) -> None:
        for key in await self._store.list_keys():
            self._remember(key)

    def find(self, secret: str) -> Key | None:
        """The key with this secret, if it is valid now. Notes that it was used."""
        key = self._by_digest.get(digest_of(secret))
        if key is None:
            return None
        now = self._clock_ms()
        if _fault(key, now) is not None:
            return None
        self._unsaved_use[key.id] = now
        return key

    def check(self, key_id: str) -> None:
        """Raises Unauthorized if the key does not work now."""
        if (reason := _fault(self._by_id[key_id], self._clock_ms())) is not None:
            raise Unauthorized(reason)

    @contextlib.contextmanager
    def held(self, key_id: str, end: Callable[[str], None]) -> Iterator[None]:
        """While inside, `end` is called with the reason as soon as the key stops working.

        Raises Unauthorized if it has stopped already.
        """
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal timer
            key, now = self._by_id[key_id], self._clock_ms()
            if (reason := _fault(key, now)) is not None:
                end(reason)
            elif key.expires_at is not None:
                delay = min((key.expires_at - now) / 1000, LOOK_AT_EXPIRY_SECONDS)
                timer = loop.call_later(delay, look)

        self.check(key_id)
        holders = self._held.setdefault(key_id, set())
        holders.add(end)
        look()
        try:
            yield
        finally:
            holders.discard(end)
            if timer is not None:
                timer.cancel()

    async def create(self, name: str, role: Role, expires_at: int | None = None) -> tuple[Key, str]:
        """A new key and its secret, which is not kept. Raises ValidationFailed."""
        secret = new_secret()
        return await self.add(secret, name, role, expires_at), secret

    async def add(self, secret: str, name: str, role: Role, expires_at: int | None = None) -> Key:
        """A key with a secret that the caller chose. Raises ValidationFailed."""
        now = self._clock_ms()
        violations = []
        if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", name):
            rule = "must be 1 to 64 letters, digits, '.', '_', '@' or '-'"
            violations.append(FieldViolation("name", rule))
        if expires_at is not None and expires_at <= now:
            violations.append(FieldViolation("expires_at", "must be in the future"))
        if violations:
            raise ValidationFailed(violations)
        key = Key(self._new_id(), digest_of(secret), name, role, now, expires_at)
        async with self._writing:
            await self._store.put_key(key)
            self._remember(key)
        log.info("key created", extra={"key_id": key.id, "key_name": name, "role": str(role)})
        return key

    async def revoke(self, key_id: str) -> Key:
        """Revoke a key; one that is revoked already stays as it is. Raises NotFound."""
        async with self._writing:
            key = self._by_id.get(key_id)
            if key is None:
                raise NotFound(f"No key {key_id}")
            if key.revoked_at is not None:
                return key
            key = msgspec.structs.replace(key, revoked_at=self._clock_ms())
            # Refused from now on, even if the disk is slow or fails.
            self._remember(key)
            for end in self._held.pop(key_id, ()):
                end(KEY_REVOKED)
            await self._store.put_key(key)
        log.info("key revoked", extra={"key_id": key.id, "key_name": key.name})
        return key

    def list(self) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        return sorted(map(self._with_use, self._by_id.values()), key=lambda key: key.id)

    @contextlib.asynccontextmanager
    async def saving_use(self) -> AsyncIterator[None]:
        """While inside, `last_used_at` is stored once a minute; at the end a last time."""

        async def save_at_times() -> None:
            while True:
                await asyncio.sleep(LAST_USED_EVERY_SECONDS)
                await self.save_use()

        task = asyncio.create_task(save_at_times())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
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
        return key if used_at is None else msgspec.structs.replace(key, last_used_at=used_at)

    def _remember(self, key: Key) -> None:
        self._by_id[key.id] = key
        self._by_digest[key.digest] = key


def _fault(key: Key, now: int) -> str | None:
    """Why the key does not work (any more)."""
    if key.revoked_at is not None:
        return KEY_REVOKED
    if key.expires_at is not None and key.expires_at <= now:
        return KEY_EXPIRED
    return None


class BadAdminKey(Exception):
    """FETCHML_ADMIN_KEY can't be used; the message says why, without the key."""


async def ensure_admin(
    keyring: Keyring, wanted: str | None, keep: Callable[[str], None]
) -> str | None:
    """Make the first admin key where there is no key at all.

    `wanted` (FETCHML_ADMIN_KEY) becomes that key. Without it one is made, handed to `keep`, which
    writes it to a file, and returned, to be shown once. Raises BadAdminKey.
    """
    if keyring.list():
        if wanted and keyring.find(wanted) is None:
            log.warning(
                "FETCHML_ADMIN_KEY is not a key of this server: it counts only at the first start; "
                "make keys with 'fetchml keys create'"
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


class Admitted(NamedTuple):
    principal: Principal
    limit: RateState | None
    """None: requests are not limited."""


class Admission:
    """Lets a request in by its key, or says why not.

    Right keys are limited each by itself, wrong ones by address. A right key passes from an
    address with too many wrong ones: behind a proxy all clients share one address, and nobody
    may lock the others out.
    """

    local = Principal("local", Role.ADMIN, key_id="local", address="control socket")
    """Who calls over the control socket."""

    def __init__(
        self,
        keyring: Keyring,
        clock: Callable[[], float],
        *,
        limiter: RateLimiter | None,
        proxies: Proxies | None = None,
        streams_per_key: int = STREAMS_PER_KEY,
        streams_per_address: int = STREAMS_PER_ADDRESS,
        calls_per_address: int = KEYLESS_CALLS_PER_ADDRESS,
    ) -> None:
        """`clock`: monotonic seconds. `limiter` None: no caller's rate is limited. `proxies`
        None: nobody is believed about whom a request comes from."""
        proxies = proxies or Proxies()
        self.client_of = proxies.client_of
        self.is_shared = proxies.is_shared
        self._keyring = keyring
        self._clock = clock
        self._limiter = limiter
        self._wrong = RateLimiter(WRONG_KEYS_PER_SECOND, WRONG_KEYS_BURST)
        self._principals: dict[str, Principal] = {}
        self._streams_of_keys = OpenStreams(streams_per_key)
        self._keyless_streams = OpenStreams(streams_per_address, KEYLESS_STREAMS)
        self._keyless_calls = OpenStreams(calls_per_address, KEYLESS_CALLS)
        self.streams_per_key = streams_per_key
        self.streams_per_address = streams_per_address
        self.calls_per_address = calls_per_address

    def knows(self, secret: str) -> bool:
        """Whether this is the secret of a valid key."""
        return self._keyring.find(secret) is not None

    def keyless_stream(self, address: str) -> AbstractContextManager[None]:
        """Around what somebody without a key may hold open. Raises TooManyStreams, Overloaded."""
        return self._keyless_streams.hold(caller_of(address))

    def keyless_call(self, address: str) -> AbstractContextManager[None]:
        """Around a call without a key that is answered once. Raises TooManyStreams, Overloaded."""
        return self._keyless_calls.hold(caller_of(address))

    def admit(self, secret: str | None, address: str) -> Admitted:
        """Raises Unauthorized, RateLimited."""
        key = self._keyring.find(secret) if secret else None
        if key is None:
            self._refuse(address)
        principal = Principal(key.name, key.role, key.id, address)
        if self._limiter is None:
            return Admitted(principal, None)
        now = self._clock()
        state = self._limiter.take(key.id, now)
        if state is None:
            raise RateLimited(self._limiter.retry_after(key.id, now), self._limiter.burst)
        return Admitted(principal, state)

    def check(self, who: Principal) -> None:
        """Raises Unauthorized if the key has stopped working since it was admitted."""
        if who is not self.local:
            self._keyring.check(who.key_id)

    @contextlib.contextmanager
    def while_valid(self, who: Principal) -> Iterator[None]:
        """Around what may take long. When the key stops working, what is inside is cancelled.

        Raises TooManyStreams; Unauthorized, from inside too.
        """
        if who is self.local:
            yield
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # every request is served in a task
        reason: str | None = None

        def end(why: str) -> None:
            nonlocal reason
            if reason is None:
                reason = why
                task.cancel()

        try:
            with (
                self._streams_of_keys.hold(who.key_id),
                self._keyring.held(who.key_id, end),
            ):
                yield
        except asyncio.CancelledError:
            # Somebody else may have cancelled it too.
            if reason is None or task.uncancel() > 0:
                raise
            raise Unauthorized(reason) from None

    def count_refusal(self, secret: str | None, address: str) -> None:
        """Of what is refused whoever asks. Without a right key it counts as a wrong one does.

        Raises RateLimited.
        """
        if secret and self.knows(secret):
            self.admit(secret, address)
        else:
            self._count_wrong(address)

    def _refuse(self, address: str) -> NoReturn:
        self._count_wrong(address)
        raise Unauthorized

    def _count_wrong(self, address: str) -> None:
        if self._limiter is not None:
            now, caller = self._clock(), caller_of(address)
            if self._wrong.take(caller, now) is None:
                raise RateLimited(self._wrong.retry_after(caller, now))
