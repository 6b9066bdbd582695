"""Visits of browsers to ports of tasks: a one-time ticket becomes a cookie of the port's origin.

A visit opens one port of one task and nothing else. It is bound to an API key and ends with it, or
after 12 hours.
"""

from typing import NamedTuple

from fetchml.auth.key_tokens import Bounds, KeyTokens
from fetchml.auth.keyring import Keyring
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
    is_ticket: bool


class PortVisits:
    """Used from one event loop."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._visits = KeyTokens[Visit](
            keyring,
            "fml_port_",
            Bounds(VISITS_BY_KEY, VISITS_IN_ALL),
            what="open visits to ports of tasks",
        )

    def ticket(self, key_id: str, place: Place) -> tuple[str, int]:
        """Return a ticket and its end. Raises Overloaded."""
        return self._visits.create(key_id, TICKET_MS, Visit(place, is_ticket=True))

    def use(self, ticket: str, place: Place) -> str | None:
        """Return the token of a new visit, once for each ticket; `None` if there is no such ticket
        now. Raises Overloaded."""
        found = self._visits.take(ticket)
        if found is None or found.value != Visit(place, is_ticket=True):
            return None
        return self._visits.create(found.key_id, VISIT_MS, Visit(place, is_ticket=False))[0]

    def find(self, token: str, place: Place) -> Key | None:
        """Return the key of a visit to this port; `None` if there is none now."""
        found = self._visits.find(token)
        if found is None or found.value != Visit(place, is_ticket=False):
            return None
        return self._keyring.use(found.key_id)
