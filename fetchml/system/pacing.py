"""Long work in the event loop that yields to other tasks every few milliseconds.

Work is measured by time, not by count: one item may cost a thousand times as much as another. All
long work of a loop shares one turn in each pass of the loop: many long requests at one time delay
others no more than one does, and go on in the order in which they came.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
R = TypeVar("R")

LONGEST_SECONDS = 0.005
"""Long work of one pass of the event loop. Together with the cost of the largest single item, it
bounds the delay that long requests cause to all others."""
SHORT_SECONDS = 0.0005
"""Work that takes less is not long: it waits for no turn."""
LONG_BYTES = 128 << 10
"""Parsing or copying more bytes at a time is long work, and can't yield."""


class _Line:
    """The long work of one event loop. What waits for its turn goes on one by one, each in a pass
    of its own."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._begun: float | None = None
        """When the long work of this pass began; `None` if there was none yet."""

    def end(self, now: float) -> float:
        """Return when this pass has had its long work; if it had none, it begins `now`."""
        if self._begun is None:
            self._begun = now
            asyncio.get_running_loop().call_soon(self._next_pass)
        return self._begun + LONGEST_SECONDS

    def _next_pass(self) -> None:
        self._begun = None

    async def turn(self) -> None:
        """Wait for a turn."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._give_turn)
        self._waiting.append(future)
        await future

    def _give_turn(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():  # Its request may have been cancelled.
                future.set_result(None)
                break
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._give_turn)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()


def _line() -> _Line:
    loop = asyncio.get_running_loop()
    line = _lines.get(loop)
    if line is None:
        line = _lines[loop] = _Line()
    return line


class Pace:
    """Measures the time that one request's work has taken since its last turn. Used in one event
    loop."""

    __slots__ = ("_line", "_until")

    def __init__(self) -> None:
        self._line: _Line | None = None
        self._until = time.perf_counter() + SHORT_SECONDS
        """Until then the work need not yield: a time of the present pass, or of an earlier one."""

    @property
    def due(self) -> bool:
        """Whether the work should yield now."""
        now = time.perf_counter()
        if now < self._until:
            return False
        if self._line is None:
            self._line = _line()
        self._until = self._line.end(now)
        return now >= self._until

    async def rest(self) -> None:
        """Yield to other tasks if that is due."""
        if self.due:
            await self.turn()

    async def turn(self) -> None:
        """Yield to other tasks, in any case: what follows is long by itself."""
        if self._line is None:
            self._line = _line()
        await self._line.turn()
        now = time.perf_counter()
        # The long work of this pass begins. Each turn does some.
        self._until = max(self._line.end(now), now + SHORT_SECONDS)


async def turn_for(size: int) -> None:
    """Yield to other tasks if parsing or copying `size` bytes, which follows, is long work."""
    if size > LONG_BYTES:
        await Pace().turn()


async def map_paced(convert: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Convert each item, and yield to other tasks in between. Returns the results."""
    pace = Pace()
    converted: list[R] = []
    for item in items:
        if pace.due:
            await pace.turn()
        converted.append(convert(item))
    return converted
