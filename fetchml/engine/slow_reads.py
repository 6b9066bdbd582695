"""Searches and histories, which read much of the store: each user has one at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fetchml.errors import Unavailable
from fetchml.ports.store import ReadTooLong
from fetchml.system.locks import KeyedLocks

SEARCH_TOO_LONG = "The search takes too long: narrow it by time, user or status"
HISTORY_TOO_LONG = "The history takes too long to read: ask for a shorter time"


class SlowReads:
    """Used from one event loop."""

    def __init__(self) -> None:
        self._turns = KeyedLocks()

    @asynccontextmanager
    async def turn(self, user: str, too_long: str) -> AsyncIterator[None]:
        """Wait for the user's turn. Raises Unavailable with the message `too_long` if the store
        gives up the enclosed read."""
        async with self._turns.hold(user):
            try:
                yield
            except ReadTooLong:
                raise Unavailable(too_long) from None
