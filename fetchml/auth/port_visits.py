"""Visits of browsers to ports of tasks: a one-time ticket becomes a cookie of the port's origin.

A visit opens one port of one task and nothing else. It is bound to an API key, and to the session
of the page that opened it, if one did. It ends with both, or after 12 hours.
"""

from typing import NamedTuple

from fetchml.auth.key_tokens import Bounds, KeyTokens
from fetchml.auth.keyring import Keyring
from fetchml.auth.sessions import Session, Sessions
from fetchml.core.model import Key

TICKET_MS = 120_000
"""Lifetime of a ticket."""
VISIT_MS = 12 * 3_600_000
VISITS_BY_KEY = 64
"""Tickets and visits."""
VISITS_IN_ALL = 2048


class Place(NamedTuple):
    """A port of a task."""

    task_id: str
    port: int


class Visit(NamedTuple):
    place: Place
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

    def ticket(self, key_id: str, session: Session | None, place: Place) -> tuple[str, int]:
        """Return a ticket and its end. Raises Overloaded."""
        return self._visits.create(key_id, TICKET_MS, Visit(place, session, is_ticket=True))

    def use(self, ticket: str, place: Place) -> str | None:
        """Return the token of a new visit, once for each ticket; `None` if there is no such ticket
        now. Raises Overloaded."""
        found = self._visits.take(ticket)
        if found is None or not self._is_for(found.value, place) or not found.value.is_ticket:
            return None
        visit = found.value._replace(is_ticket=False)
        return self._visits.create(found.key_id, VISIT_MS, visit)[0]

    def find(self, token: str, place: Place) -> tuple[Key, Session | None] | None:
        """Return the key and the session of a visit to this port; `None` if there is none now."""
        found = self._visits.find(token)
        if found is None or not self._is_for(found.value, place) or found.value.is_ticket:
            return None
        key = self._keyring.use(found.key_id)
        return None if key is None else (key, found.value.session)

    def _is_for(self, visit: Visit, place: Place) -> bool:
        is_open = visit.session is None or self._sessions.is_open(visit.session)
        return is_open and visit.place == place
