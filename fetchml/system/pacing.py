"""Long work in the event loop that yields to other tasks every few milliseconds.

Work is measured by time, not by count: one item may cost a thousand times as much as another.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

LONGEST_SECONDS = 0.005
"""Work that takes longer yields. Together with the cost of the largest single item, it bounds the
delay that one request causes to all others."""


class Pace:
    """Measures the time that one request's work has taken since it last yielded."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    @property
    def due(self) -> bool:
        """Whether the work should yield now."""
        return time.perf_counter() - self._since >= LONGEST_SECONDS

    async def rest(self) -> None:
        """Yield to other tasks if that is due."""
        if self.due:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


async def map_paced(convert: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Convert each item, and yield to other tasks in between. Returns the results."""
    pace = Pace()
    converted: list[R] = []
    for item in items:
        converted.append(convert(item))
        if pace.due:
            await pace.rest()
    return converted
