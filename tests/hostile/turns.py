"""Measures the longest turn of the event loop, during which no other request is served."""

import asyncio
import gc
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

LONGEST_SECONDS = 0.300
"""Twice the limit of a turn, since a busy machine takes twice as long as a quiet one."""
TRIES = 3
FLOOD_SECONDS = 1.0


class Turns:
    """The longest turn so far, in seconds of the event loop's own thread: time in which the
    machine gave the processor to others is not counted."""

    longest = 0.0
    count = 0


@asynccontextmanager
async def measured() -> AsyncIterator[Turns]:
    """Every turn of the event loop while inside is measured."""
    turns = Turns()

    async def watch() -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            turns.longest = max(turns.longest, now - before)
            turns.count += 1
            before = now

    gc.collect()
    gc.freeze()  # As the server does when it is ready.
    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        yield turns
    finally:
        await asyncio.sleep(0)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        gc.unfreeze()


async def longest_turn(work: Callable[[], Awaitable[object]]) -> float:
    """Of the best of some tries."""
    best = float("inf")
    for _ in range(TRIES):
        async with measured() as turns:
            await work()
        best = min(best, turns.longest)
        if best < LONGEST_SECONDS:
            break
    return best


def pour(client: socket.socket, data: bytes) -> None:
    """Send the same again and again for a while, and read what comes. In a thread."""
    client.setblocking(False)
    at, until = 0, time.monotonic() + FLOOD_SECONDS
    while time.monotonic() < until:
        select.select([client], [client], [], 0.1)
        with suppress(BlockingIOError):
            at = (at + client.send(data[at:])) % len(data)
        with suppress(BlockingIOError):
            assert client.recv(1 << 20), "the server closed"
