"""The longest turn of an event loop, from the server's process to that of the benchmark.

`python -m benchmarks.hostile.turn_meter FILE serve …` is the real program with a timer beside it.
Every millisecond the timer looks at the processor time of the loop's thread. Between two looks
there are passes of a millisecond together and one more, so the longest pass is measured with an
error of a millisecond. A pass has one turn of each request that is ready. Time in which the machine
gave the processor to others does not count.
"""

import asyncio
import struct
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from mmap import mmap
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from fetchml.cli.main import main as program

T = TypeVar("T")

TICK_SECONDS = 0.001
_SECONDS = struct.Struct("d")


class TurnMeter:
    """The file's value, mapped into memory."""

    def __init__(self, shared: mmap) -> None:
        self._shared = shared

    @property
    def longest(self) -> float:
        """Seconds of the longest turn since it was reset."""
        return float(_SECONDS.unpack_from(self._shared)[0])

    def reset(self) -> None:
        self._set(0.0)

    def add(self, seconds: float) -> None:
        """Note a turn."""
        if seconds > self.longest:
            self._set(seconds)

    def _set(self, seconds: float) -> None:
        _SECONDS.pack_into(self._shared, 0, seconds)


@contextmanager
def turn_meter(file: Path) -> Iterator[TurnMeter]:
    """The meter in a file, which is made if it does not exist."""
    if not file.exists():
        file.write_bytes(bytes(_SECONDS.size))
    with file.open("r+b") as opened, mmap(opened.fileno(), _SECONDS.size) as shared:
        yield TurnMeter(shared)


async def _measure(meter: TurnMeter) -> None:
    before = time.thread_time()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        now = time.thread_time()
        meter.add(now - before)
        before = now


def main() -> None:
    run = uvloop.run
    with turn_meter(Path(sys.argv.pop(1))) as meter:

        async def measured(work: Coroutine[Any, Any, T]) -> T:
            measuring = asyncio.create_task(_measure(meter))
            try:
                return await work
            finally:
                measuring.cancel()

        def metered(work: Coroutine[Any, Any, T], **options: Any) -> T:
            return run(measured(work), **options)

        uvloop.run = metered  # type: ignore[assignment]  # it takes the same options
        program()


if __name__ == "__main__":
    main()
