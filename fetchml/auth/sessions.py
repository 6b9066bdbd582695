"""Sessions of the page: each is bound to an API key and ends with it, or after 12 hours.

A session has a token, which the page sends as a header, and, where a cookie is safe, a second one
in a cookie. Browsers send a cookie to every port of its host, so whatever listens there may replay
it: the cookie alone is worth nothing, and neither is the token without it.

Sessions are in memory only, so a restart of the server ends them all. Like keys, they are looked up
by the SHA-256 of their token.
"""

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fetchml.auth.keyring import Keyring, digest_of
from fetchml.core.model import Key
from fetchml.errors import Overloaded, Unauthorized

SESSION_MS = 12 * 3_600_000
"""Longest life of a session."""
SESSIONS_BY_KEY = 32
"""A further session ends the oldest of the key."""
SESSIONS_IN_ALL = 4096
EXPIRY_CHECK_SECONDS = 60
"""Longest delay of a session's end after the host's clock was set forward."""

SESSION_OVER = "The session has ended: sign in again"


@dataclass(eq=False, slots=True)
class Session:
    digest: str
    """Of its token."""
    cookie_digest: str | None
    """Of the cookie that must come with the token; `None` if the token alone presents the
    session: the page then keeps it in memory."""
    key_id: str
    expires_at: int
    """Milliseconds since the epoch (UTC); not after the key's own."""
    ends: set[Callable[[str], None]] = field(default_factory=set)
    """Callbacks that end what the session holds open."""


class Begun(NamedTuple):
    """A new session, with the secrets that present it. They are not kept."""

    session: Session
    token: str
    cookie: str | None
    """`None` if the token alone presents the session."""


class Sessions:
    """All sessions. Used from one event loop."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._by_digest: dict[str, Session] = {}
        """Oldest first."""

    def __len__(self) -> int:
        return len(self._by_digest)

    def begin(self, key: Key, *, with_cookie: bool) -> Begun:
        """Begin a session. `with_cookie`: its token is to be worth nothing without a cookie.
        Raises Overloaded."""
        now = self._keyring.now()
        for session in [each for each in self._by_digest.values() if each.expires_at <= now]:
            self.end(session)
        of_key = [each for each in self._by_digest.values() if each.key_id == key.id]
        if len(of_key) >= SESSIONS_BY_KEY:
            self.end(of_key[0])
        if len(self._by_digest) >= SESSIONS_IN_ALL:
            raise Overloaded("Server limit of sessions reached")
        token = f"fml_session_{secrets.token_urlsafe(32)}"
        expires_at = now + SESSION_MS
        if key.expires_at is not None:
            expires_at = min(expires_at, key.expires_at)
        cookie = f"fml_cookie_{secrets.token_urlsafe(32)}" if with_cookie else None
        cookie_digest = None if cookie is None else digest_of(cookie)
        session = Session(digest_of(token), cookie_digest, key.id, expires_at)
        self._by_digest[session.digest] = session
        return Begun(session, token, cookie)

    def find(self, token: str, cookies: Iterable[str]) -> tuple[Session, Key] | None:
        """Return the session with this token and its key, as `resume` does."""
        session = self._by_digest.get(digest_of(token))
        return None if session is None else self.resume(session, cookies)

    def resume(self, session: Session, cookies: Iterable[str]) -> tuple[Session, Key] | None:
        """Return a session and its key, whose use is noted; `None` if the session is over, or none
        of the cookies is the one that it needs. Other ports and hosts can plant further cookies of
        its name, so all of them are tried."""
        if not self.is_open(session):
            return None
        expected = session.cookie_digest
        if expected is not None and not any(
            hmac.compare_digest(digest_of(cookie), expected) for cookie in cookies
        ):
            return None
        key = None if self._is_over(session) else self._keyring.use(session.key_id)
        if key is None:
            self.end(session)
            return None
        return session, key

    def is_open(self, session: Session) -> bool:
        """Return whether the session has not been ended."""
        return self._by_digest.get(session.digest) is session

    def end(self, session: Session) -> None:
        """End a session, and all that it holds open."""
        self._by_digest.pop(session.digest, None)
        for end in tuple(session.ends):
            end(SESSION_OVER)

    @contextlib.contextmanager
    def while_open(self, session: Session, end: Callable[[str], None]) -> Iterator[None]:
        """While inside, `end` is called with the reason as soon as the session ends. Raises
        Unauthorized if it has ended already."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def check_validity() -> None:
            nonlocal timer
            if self._is_over(session):
                self.end(session)
            else:
                delay = (session.expires_at - self._keyring.now()) / 1000
                timer = loop.call_later(min(delay, EXPIRY_CHECK_SECONDS), check_validity)

        if not self.is_open(session) or self._is_over(session):
            raise Unauthorized(SESSION_OVER)
        session.ends.add(end)
        check_validity()
        try:
            yield
        finally:
            session.ends.discard(end)
            if timer is not None:
                timer.cancel()

    def _is_over(self, session: Session) -> bool:
        return session.expires_at <= self._keyring.now()
