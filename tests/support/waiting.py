"""Waits for what the code under test does by itself; each fails after `SECONDS`."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from testbed import patience

T = TypeVar("T")

SECONDS = patience.SECONDS
LONGEST_PAUSE_SECONDS = 0.1


def pause(began: float) -> float:
    """Return how long to wait before the next look, after a wait since `began`: looks of a long
    wait, most of which are requests to a server, would take a processor."""
    return min(LONGEST_PAUSE_SECONDS, 0.005 + (time.monotonic() - began) / 10)


async def soon(awaitable: Awaitable[T]) -> T:
    """Await an event."""
    return await asyncio.wait_for(awaitable, SECONDS)


async def until(
    look: Callable[[], Awaitable[T]],
    holds: Callable[[T], object] = bool,
    seconds: float = SECONDS,
) -> T:
    """Return what `look` finds as soon as `holds` is true of it, where no event can be awaited."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not holds(found := await look()):  # noqa: ASYNC110
            await asyncio.sleep(pause(began))
    return found


async def until_true(condition: Callable[[], object]) -> None:
    """Wait for a condition that is checked in the event loop."""

    async def look() -> object:
        return condition()

    await until(look)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition that takes long to check: it is checked in a thread."""
    await until(lambda: asyncio.to_thread(condition))


def wait_until(look: Callable[[], T], what: object = "") -> T:
    """Block until `look` finds something true, and return that. `what` is shown on failure."""
    began = time.monotonic()
    while not (found := look()):
        assert time.monotonic() < began + SECONDS, f"not within {SECONDS} s: {what}"
        time.sleep(pause(began))
    return found
