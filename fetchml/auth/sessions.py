"""Sessions of the page: each is bound to an API key and ends with it, or after 12 hours.

They are in memory only, so a restart of the server ends them all. Like keys, they are looked up by
the SHA-256 of their token.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fetchml.auth.keyring import Keyring, digest_of
from fetchml.core.model import Key
from fetchml.errors import Overloaded, Unauthorized

SESSION_MS = 12 * 3_600_000
"""Longest life of a session."""
SESSIONS_BY_KEY = 32
"""A further session ends the oldest of the key."""
SESSIONS_IN_ALL = 4096
SESSION_BYTES = 1024
"""Most memory of one session, or of one sign-in code."""
LOOK_AGAIN_SECONDS = 60
"""Longest delay of a session's end after the host's clock was set forward."""

SESSION_OVER = "The session has ended: sign in again"


@dataclass(eq=False, slots=True)
class Session:
    digest: str
    key_id: str
    expires_at: int
    """Milliseconds since the epoch (UTC); not after the key's own."""
    in_cookie: bool
    """Whether a cookie presents it. Otherwise the page has it in memory."""
    ends: set[Callable[[str], None]] = field(default_factory=set)
    """Callbacks that end what the session holds open."""


class Sessions:
    """All sessions. Used from one event loop."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._by_digest: dict[str, Session] = {}
        """Oldest first."""

    def __len__(self) -> int:
        return len(self._by_digest)

    def begin(self, key: Key, *, in_cookie: bool) -> tuple[Session, str]:
        """Begin a session; returns it and its token, which is not kept. Raises Overloaded."""
        now = self._keyring.now()
        for session in [each for each in self._by_digest.values() if each.expires_at <= now]:
            self.end(session)
        of_key = [each for each in self._by_digest.values() if each.key_id == key.id]
        if len(of_key) >= SESSIONS_BY_KEY:
            self.end(of_key[0])
        if len(self._by_digest) >= SESSIONS_IN_ALL:
            raise Overloaded("The server has too many sessions")
        token = f"fml_session_{secrets.token_urlsafe(32)}"
        expires_at = now + SESSION_MS
        if key.expires_at is not None:
            expires_at = min(expires_at, key.expires_at)
        session = Session(digest_of(token), key.id, expires_at, in_cookie)
        self._by_digest[session.digest] = session
        return session, token

    def find(self, token: str, *, in_cookie: bool) -> tuple[Session, Key] | None:
        """Return the session with this token and its key, whose use is noted; `None` if there is
        no such session, or its key is invalid."""
        session = self._by_digest.get(digest_of(token))
        if session is None or session.in_cookie != in_cookie:
            return None
        key = None if self._is_over(session) else self._keyring.use(session.key_id)
        if key is None:
            self.end(session)
            return None
        return session, key

    def end(self, session: Session) -> None:
        """End a session, and all that it holds open."""
        self._by_digest.pop(session.digest, None)
        for end in tuple(session.ends):
            end(SESSION_OVER)

    @contextlib.contextmanager
    def held(self, session: Session, end: Callable[[str], None]) -> Iterator[None]:
        """While inside, `end` is called with the reason as soon as the session ends. Raises
        Unauthorized if it has ended already."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal timer
            if self._is_over(session):
                self.end(session)
            else:
                delay = (session.expires_at - self._keyring.now()) / 1000
                timer = loop.call_later(min(delay, LOOK_AGAIN_SECONDS), look)

        if session.digest not in self._by_digest or self._is_over(session):
            raise Unauthorized(SESSION_OVER)
        session.ends.add(end)
        look()
        try:
            yield
        finally:
            session.ends.discard(end)
            if timer is not None:
                timer.cancel()

    def _is_over(self, session: Session) -> bool:
        return session.expires_at <= self._keyring.now()
