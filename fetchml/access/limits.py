"""Limits on what enters tasks at the same time: sessions, and connections to their ports."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fetchml.core.model import Principal
from fetchml.errors import Overloaded, RateLimited

SESSIONS_BY_USER = 16
SESSIONS_IN_ALL = 48
CONNECTIONS_BY_USER = 64
CONNECTIONS_IN_ALL = 96
PORTS_BY_USER = 16
"""Ports of tasks with a relay."""
PORTS_IN_ALL = 64
RETRY_SECONDS = 10


class TooManyEntries(RateLimited):
    """The user has entered as many tasks as allowed."""


class ConcurrencyLimit:
    """Counts open places, by user."""

    def __init__(self, what: str, by_user: int, in_all: int) -> None:
        """`what`: in the plural, for messages."""
        self._what = what
        self._by_user = by_user
        self._in_all = in_all
        self._open = Counter[str]()
        self.opened = 0
        """Counted since server start."""

    def __len__(self) -> int:
        return self._open.total()

    @contextmanager
    def hold(self, who: Principal) -> Iterator[None]:
        """Raises TooManyEntries, Overloaded."""
        if self._open[who.user] >= self._by_user:
            message = f"Limit of {self._by_user} {self._what} per user reached: close some"
            raise TooManyEntries(RETRY_SECONDS, message=message)
        if len(self) >= self._in_all:
            raise Overloaded(f"Server limit of {self._in_all} {self._what} reached")
        self._open[who.user] += 1
        self.opened += 1
        try:
            yield
        finally:
            self._open[who.user] -= 1
            self._open += Counter()  # Users without entries take no memory.
