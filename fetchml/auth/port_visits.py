"""Visits of browsers to ports of tasks: a one-time ticket becomes a cookie of the port's origin.

A visit opens one port of one task and nothing else. It is bound to an API key and ends with it, or
after 12 hours. In memory only, by the SHA-256 of its token.
"""

import secrets
from typing import NamedTuple

from fetchml.auth.keyring import Keyring, digest_of
from fetchml.core.model import Key
from fetchml.errors import Overloaded

TICKET_MS = 120_000
"""Lifetime of a ticket."""
VISIT_MS = 12 * 3_600_000
VISITS_BY_KEY = 64
"""Tickets and visits. A further one replaces the oldest of the key."""
VISITS_IN_ALL = 2048


class Place(NamedTuple):
    """A port of a task."""

    task_id: str
    port: int


class Visit(NamedTuple):
    key_id: str
    place: Place
    is_ticket: bool
    expires_at: int
    """Milliseconds since the epoch (UTC)."""


class PortVisits:
    """Used from one event loop."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._by_digest: dict[str, Visit] = {}
        """Oldest first."""

    def ticket(self, key_id: str, place: Place) -> tuple[str, int]:
        """Return a ticket and its end. Raises Overloaded."""
        return self._begin(key_id, place, is_ticket=True, life_ms=TICKET_MS)

    def use(self, ticket: str, place: Place) -> str | None:
        """Return the token of a new visit, once for each ticket; `None` if there is no such ticket
        now. Raises Overloaded."""
        found = self._by_digest.pop(digest_of(ticket), None)
        if found is None or not found.is_ticket or not self._is_valid(found, place):
            return None
        return self._begin(found.key_id, place, is_ticket=False, life_ms=VISIT_MS)[0]

    def find(self, token: str, place: Place) -> Key | None:
        """Return the key of a visit to this port; `None` if there is none now."""
        found = self._by_digest.get(digest_of(token))
        if found is None or found.is_ticket or not self._is_valid(found, place):
            return None
        return self._keyring.use(found.key_id)

    def _is_valid(self, visit: Visit, place: Place) -> bool:
        return visit.place == place and visit.expires_at > self._keyring.now()

    def _begin(
        self, key_id: str, place: Place, *, is_ticket: bool, life_ms: int
    ) -> tuple[str, int]:
        now = self._keyring.now()
        kept = {name: each for name, each in self._by_digest.items() if each.expires_at > now}
        of_key = [digest for digest, each in kept.items() if each.key_id == key_id]
        if len(of_key) >= VISITS_BY_KEY:
            del kept[of_key[0]]
        self._by_digest = kept
        if len(kept) >= VISITS_IN_ALL:
            raise Overloaded("The server has too many open visits to ports of tasks")
        token = f"fml_port_{secrets.token_urlsafe(32)}"
        kept[digest_of(token)] = Visit(key_id, place, is_ticket, now + life_ms)
        return token, now + life_ms
