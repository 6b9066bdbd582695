"""One-time tickets of links: what the browser itself opens, such as a download, carries no header.

A ticket stands for the token of one session in one request for one path. The session's cookie must
come with it.
"""

from typing import NamedTuple
from urllib.parse import unquote

from fetchml.auth.key_tokens import Bounds, KeyTokens
from fetchml.auth.keyring import Keyring, digest_of
from fetchml.auth.sessions import Session

TICKET_MS = 60_000
"""Lifetime of a ticket."""
TICKETS_BY_KEY = 64
TICKETS_IN_ALL = 1024


class Link(NamedTuple):
    session: Session
    path_digest: str


class LinkTickets:
    """Tickets that were not used yet. Used from one event loop."""

    def __init__(self, keyring: Keyring) -> None:
        self._tickets = KeyTokens[Link](
            keyring,
            "fml_ticket_",
            Bounds(TICKETS_BY_KEY, TICKETS_IN_ALL),
            what="tickets of links that were not used",
        )

    def create(self, session: Session, path: str) -> str:
        """Return a ticket for a path with its query. Raises Overloaded."""
        return self._tickets.create(session.key_id, TICKET_MS, Link(session, _digest(path)))[0]

    def use(self, ticket: str, path: str) -> Session | None:
        """Return the ticket's session, once; `None` if there is no such ticket now, or it is for
        another path."""
        found = self._tickets.take(ticket)
        if found is None or found.value.path_digest != _digest(path):
            return None
        return found.value.session


def _digest(path: str) -> str:
    """Return a digest of a path with its query, which may be long. Proxies may write the same path
    with other escapes."""
    path, _, query = path.partition("?")
    return digest_of(f"{unquote(path)}\0{query}")
