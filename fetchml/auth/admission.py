"""Admission of requests: whose key a request has, and whether its caller is within the limits."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

import msgspec

from fetchml.auth.key_tokens import LinkTickets, PortVisits, SignInCodes
from fetchml.auth.keyring import Keyring
from fetchml.auth.limits import RateLimiter, RateState, WrongKeys, stream_limit
from fetchml.auth.sessions import SESSION_OVER, Session, Sessions
from fetchml.config.proxies import Proxies, caller_of
from fetchml.core.model import Key, Principal, Role, Task
from fetchml.errors import RateLimited, Unauthorized

STREAMS_PER_KEY = 1_000
STREAMS_PER_ADDRESS = 50
"""Streams without a key, of one address: those of the standard gRPC services, which need none."""
KEYLESS_STREAMS = 500
"""Streams without a key, of all addresses together: far fewer than the calls that the server
accepts."""
KEYLESS_CALLS_PER_ADDRESS = 16
"""Unary calls without a key (`Health/Check`), of one address. They are counted apart, so that
streams without a key never keep a probe out."""
KEYLESS_CALLS = 256
"""Unary calls without a key, of all addresses together."""
WRONG_CODE = "The one-time code is invalid, was already used, or has expired: get a new one"
NOT_A_LIVE_TASK = "The task's token is invalid, or the task has ended"
WRONG_TICKET = "The link has expired, was already used, or belongs to another session"


class Admitted(msgspec.Struct, frozen=True):
    principal: Principal
    limit: RateState | None
    """`None` if requests are not limited."""


class Admission:
    """Admits requests by their keys and within the limits of their callers.

    Each valid key has its own rate limit; wrong keys are limited by address (`wrong_keys`).
    """

    local = Principal("local", Role.ADMIN, key_id="local", address="control socket")
    """The caller over the control socket: the owner of the data directory."""

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
        """`clock` returns monotonic seconds. `limiter`: `None` if the rate of valid and wrong keys
        is not limited. `proxies`: `None` if no proxy is trusted to name its client."""
        proxies = proxies or Proxies()
        self.client_of = proxies.client_of
        self.is_shared = proxies.is_shared
        self.is_trusted = proxies.is_trusted
        self._keyring = keyring
        self.sessions = Sessions(keyring)
        self.codes = SignInCodes(keyring)
        self.tickets = LinkTickets(keyring)
        self.port_visits = PortVisits(keyring, self.sessions)
        self._clock = clock
        self._limiter = limiter
        self._wrong_keys = WrongKeys(clock, enabled=limiter is not None)
        self._streams_of_keys = stream_limit(streams_per_key)
        self._keyless_streams = stream_limit(streams_per_address, KEYLESS_STREAMS)
        self._keyless_calls = stream_limit(calls_per_address, KEYLESS_CALLS)
        self.streams_per_key = streams_per_key
        self.streams_per_address = streams_per_address
        self.calls_per_address = calls_per_address

    def knows(self, secret: str) -> bool:
        """Return whether this is the secret of a valid key."""
        return self._keyring.find(secret) is not None

    def keyless_stream(self, address: str) -> AbstractContextManager[None]:
        """Hold a place for a stream without a key. Raises TooManyStreams, Overloaded."""
        return self._keyless_streams.hold(caller_of(address))

    def keyless_call(self, address: str) -> AbstractContextManager[None]:
        """Hold a place for a unary call without a key. Raises TooManyStreams, Overloaded."""
        return self._keyless_calls.hold(caller_of(address))

    def admit(self, secret: str | None, address: str) -> Admitted:
        """Admit one request. Raises Unauthorized, RateLimited."""
        key = self._keyring.find(secret) if secret else None
        if key is None:
            self._reject(address)
        return self._admit(key, address)

    def admit_task(self, task: Task | None, address: str) -> Admitted:
        """Admit one request of the command of a task, which acts as the task's user and has a rate
        limit of its own. `task`: `None` if its token is not valid. Raises Unauthorized,
        RateLimited."""
        if task is None:
            self._reject(address, NOT_A_LIVE_TASK)
        who = Principal(task.user, Role.USER, f"task {task.id}", address, task.id)
        return self._within_limit(who)

    def admit_session(
        self, token: str, cookies: Iterable[str], address: str
    ) -> tuple[Session, Admitted]:
        """Admit one request of a session, which counts against the limit of its key. `cookies`:
        those that may be the session's. Raises Unauthorized, RateLimited."""
        open_session = self.sessions.find(token, cookies)
        if open_session is None:
            self._reject(address, SESSION_OVER)
        session, key = open_session
        return session, self._admit(key, address)

    def admit_ticket(
        self, ticket: str, path: str, cookies: Iterable[str], address: str
    ) -> tuple[Session, Admitted]:
        """Admit one request of a link for a path with its query, as `admit_session` does, and use
        up its ticket."""
        session = self.tickets.use(ticket, path)
        resumed = None if session is None else self.sessions.resume(session, cookies)
        if resumed is None:
            self._reject(address, WRONG_TICKET)
        session, key = resumed
        return session, self._admit(key, address)

    def admit_code(self, code: str, address: str, *, use: bool = True) -> Key:
        """Return the key of a one-time code, and use the code up unless `use` is false. Raises
        Unauthorized, RateLimited."""
        key_id = self.codes.use(code) if use else self.codes.find(code)
        key = None if key_id is None else self._keyring.use(key_id)
        if key is None:
            self._reject(address, WRONG_CODE)
        self._admit(key, address)
        return key

    def key(self, key_id: str) -> Key | None:
        """Return the key with this id; `None` if it is not valid."""
        return self._keyring.use(key_id)

    def check(self, who: Principal) -> None:
        """Raise Unauthorized if the key has become invalid since it was admitted."""
        if who is not self.local and who.task_id is None:
            self._keyring.check(who.key_id)

    @contextlib.contextmanager
    def while_valid(self, who: Principal, session: Session | None = None) -> Iterator[None]:
        """Around work that may take long: it is cancelled when the key becomes invalid, or the
        session ends, if the caller has one.

        Raises TooManyStreams; Unauthorized, also from inside.
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
                self._keyring.while_valid(who.key_id, end)
                if who.task_id is None
                else nullcontext(),
                nullcontext() if session is None else self.sessions.while_open(session, end),
            ):
                yield
        except asyncio.CancelledError:
            # The task may have been cancelled for another reason as well.
            if reason is None or task.uncancel() > 0:
                raise
            raise Unauthorized(reason) from None

    def count_refusal(self, secret: str | None, address: str) -> None:
        """Count a request that is rejected regardless of its key: against the key if it is
        valid, or else as a wrong key of the address. Raises RateLimited."""
        if secret and self.knows(secret):
            self.admit(secret, address)
        else:
            self._wrong_keys.count(address)

    def _admit(self, key: Key, address: str) -> Admitted:
        return self._within_limit(Principal(key.name, key.role, key.id, address))

    def _within_limit(self, who: Principal) -> Admitted:
        if self._limiter is None:
            return Admitted(who, None)
        now = self._clock()
        state = self._limiter.take(who.key_id, now)
        if state is None:
            raise RateLimited(self._limiter.retry_after(who.key_id, now), self._limiter.burst)
        return Admitted(who, state)

    def _reject(self, address: str, reason: str | None = None) -> NoReturn:
        self._wrong_keys.count(address)
        raise Unauthorized(reason) if reason else Unauthorized
