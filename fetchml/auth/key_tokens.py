"""Short-lived secrets that belong to API keys: in memory only, by the SHA-256 of each.

A sign-in code lets a browser sign in without typing the key. A ticket of a link stands for the
token of one session in one request for one path: what the browser itself opens, such as a download,
carries no header; the session's cookie must come with it. A visit opens one port of one task and
nothing else: its one-time ticket becomes a cookie of the port's origin.
"""

import secrets
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote

from fetchml.auth.keyring import Keyring, digest_of
from fetchml.auth.sessions import Session, Sessions
from fetchml.core.model import Key
from fetchml.errors import Overloaded

T = TypeVar("T")


class Bounds(NamedTuple):
    """Numbers of secrets that were not used up and have not expired."""

    by_key: int
    """A further one replaces the oldest of the key."""
    in_all: int


class KeyToken(NamedTuple, Generic[T]):
    key_id: str
    expires_at: int
    """Milliseconds since the epoch (UTC)."""
    value: T
    """The right that the secret gives, besides the key."""


class KeyTokens(Generic[T]):
    """Used from one event loop."""

    def __init__(self, keyring: Keyring, prefix: str, bounds: Bounds, *, what: str) -> None:
        """`what`: the secrets, in the message of the error of too many."""
        self._keyring = keyring
        self._prefix = prefix
        self._bounds = bounds
        self._what = what
        self._by_digest: dict[str, KeyToken[T]] = {}
        """Oldest first."""

    def __len__(self) -> int:
        return len(self._by_digest)

    def create(self, key_id: str, life_ms: int, value: T) -> tuple[str, int]:
        """Return a new secret and its end. Raises Overloaded."""
        now = self._keyring.now()
        valid = {name: each for name, each in self._by_digest.items() if each.expires_at > now}
        of_key = [digest for digest, each in valid.items() if each.key_id == key_id]
        if len(of_key) >= self._bounds.by_key:
            del valid[of_key[0]]
        self._by_digest = valid
        if len(valid) >= self._bounds.in_all:
            raise Overloaded(f"Server limit of {self._what} reached")
        secret = f"{self._prefix}{secrets.token_urlsafe(32)}"
        valid[digest_of(secret)] = KeyToken(key_id, now + life_ms, value)
        return secret, now + life_ms

    def find(self, secret: str) -> KeyToken[T] | None:
        """Return the token of a secret; `None` if there is none now."""
        return self._valid(self._by_digest.get(digest_of(secret)))

    def take(self, secret: str) -> KeyToken[T] | None:
        """Return the token of a secret, once; `None` if there is none now."""
        return self._valid(self._by_digest.pop(digest_of(secret), None))

    def _valid(self, entry: KeyToken[T] | None) -> KeyToken[T] | None:
        return entry if entry is not None and entry.expires_at > self._keyring.now() else None


CODE_MS = 120_000
"""Lifetime of a code."""
CODES_BY_KEY = 16
CODES_IN_ALL = 4096


class SignInCodes:
    """Codes that were not used yet. Used from one event loop."""

    def __init__(self, keyring: Keyring) -> None:
        self._codes = KeyTokens[None](
            keyring,
            "fml_code_",
            Bounds(CODES_BY_KEY, CODES_IN_ALL),
            what="unused sign-in codes",
        )

    def __len__(self) -> int:
        return len(self._codes)

    def create(self, key_id: str) -> tuple[str, int]:
        """Create a code of this key; returns it and its end. Raises Overloaded."""
        return self._codes.create(key_id, CODE_MS, None)

    def find(self, code: str) -> str | None:
        """Return the id of the code's key, without using the code up; `None` if there is no such
        code now."""
        entry = self._codes.find(code)
        return None if entry is None else entry.key_id

    def use(self, code: str) -> str | None:
        """Return the id of the code's key, once; `None` if there is no such code now."""
        entry = self._codes.take(code)
        return None if entry is None else entry.key_id


LINK_TICKET_MS = 60_000
"""Lifetime of a ticket."""
TICKETS_BY_KEY = 64
TICKETS_IN_ALL = 1024


class Link(NamedTuple):
    session: Session
    path_digest: str


class LinkTickets:
    """Unused tickets. Used from one event loop."""

    def __init__(self, keyring: Keyring) -> None:
        self._tickets = KeyTokens[Link](
            keyring,
            "fml_ticket_",
            Bounds(TICKETS_BY_KEY, TICKETS_IN_ALL),
            what="unused link tickets",
        )

    def create(self, session: Session, path: str) -> str:
        """Return a ticket for a path with its query. Raises Overloaded."""
        return self._tickets.create(session.key_id, LINK_TICKET_MS, Link(session, _digest(path)))[0]

    def use(self, ticket: str, path: str) -> Session | None:
        """Return the ticket's session, once; `None` if there is no such ticket now, or it is for
        another path."""
        entry = self._tickets.take(ticket)
        if entry is None or entry.value.path_digest != _digest(path):
            return None
        return entry.value.session


def _digest(path: str) -> str:
    """Return a digest of a path with its query, which may be long. Proxies may write the same path
    with other escapes."""
    path, _, query = path.partition("?")
    return digest_of(f"{unquote(path)}\0{query}")


PORT_TICKET_MS = 120_000
"""Lifetime of a ticket."""
VISIT_MS = 12 * 3_600_000
VISITS_BY_KEY = 64
"""Tickets and visits."""
VISITS_IN_ALL = 2048


class TaskPort(NamedTuple):
    """A port of a task."""

    task_id: str
    port: int


class Visit(NamedTuple):
    port: TaskPort
    session: Session | None
    """`None` if the ticket was got with an API key."""
    is_ticket: bool


class PortVisits:
    """Used from one event loop."""

    def __init__(self, keyring: Keyring, sessions: Sessions) -> None:
        self._keyring = keyring
        self._sessions = sessions
        self._visits = KeyTokens[Visit](
            keyring,
            "fml_port_",
            Bounds(VISITS_BY_KEY, VISITS_IN_ALL),
            what="open visits to ports of tasks",
        )

    def ticket(self, key_id: str, session: Session | None, port: TaskPort) -> tuple[str, int]:
        """Return a ticket and its end. Raises Overloaded."""
        return self._visits.create(key_id, PORT_TICKET_MS, Visit(port, session, is_ticket=True))

    def use(self, ticket: str, port: TaskPort) -> str | None:
        """Return the token of a new visit, once for each ticket; `None` if there is no such ticket
        now. Raises Overloaded."""
        entry = self._visits.take(ticket)
        if entry is None or not self._is_for(entry.value, port) or not entry.value.is_ticket:
            return None
        visit = entry.value._replace(is_ticket=False)
        return self._visits.create(entry.key_id, VISIT_MS, visit)[0]

    def find(self, token: str, port: TaskPort) -> tuple[Key, Session | None] | None:
        """Return the key and the session of a visit to this port; `None` if there is none now."""
        entry = self._visits.find(token)
        if entry is None or not self._is_for(entry.value, port) or entry.value.is_ticket:
            return None
        key = self._keyring.use(entry.key_id)
        return None if key is None else (key, entry.value.session)

    def _is_for(self, visit: Visit, port: TaskPort) -> bool:
        is_open = visit.session is None or self._sessions.is_open(visit.session)
        return is_open and visit.port == port
