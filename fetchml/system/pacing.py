"""Long work in the event loop, interrupted every few milliseconds so that others have their turn.

Work is measured by time, not by count: one item may cost a thousand times as much as another.
"""

import asyncio
import time

LONGEST_SECONDS = 0.005
"""Work that takes longer lets others have their turn. It bounds the delay that one request causes
to all others, together with the cost of its largest single item."""


class Pace:
    """The time that one request's work has taken since others last had their turn."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    @property
    def due(self) -> bool:
        """Whether others should have their turn now."""
        return time.perf_counter() - self._since >= LONGEST_SECONDS

    async def rest(self) -> None:
        """Let others have their turn, if that is due."""
        if self.due:
            await asyncio.sleep(0)
            self._since = time.perf_counter()
