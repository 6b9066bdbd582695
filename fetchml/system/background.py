"""Coroutines that go on after the call that started them, and work that is repeated."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class BackgroundWork:
    """Runs coroutines to completion, whatever happens to their callers."""

    def __init__(self) -> None:
        # The event loop itself holds only weak references to its tasks.
        self._running = set[asyncio.Task[Any]]()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start the coroutine; it is referenced until it ends."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run_to_completion(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns. It goes on if the caller is cancelled."""
        return await asyncio.shield(self.start(work))

    async def wait(self, seconds: float | None = None) -> None:
        """Return when nothing runs any more, or after `seconds`."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def cancel(self) -> None:
        """Cancel all that runs, and wait for its end."""
        for task in self._running:
            task.cancel()
        await self.wait()


@asynccontextmanager
async def every(
    seconds: float, work: Callable[[], Awaitable[object]], *, failure: str, first: float = 0.0
) -> AsyncIterator[None]:
    """While inside, call `work` after `first` seconds, and again `seconds` after each of its ends.

    An error is logged with the message `failure` and does not end the repetition.
    """

    async def repeat() -> None:
        await asyncio.sleep(first)
        while True:
            try:
                await work()
            except Exception:
                log.exception("%s", failure)
            await asyncio.sleep(seconds)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def first_of(work: asyncio.Task[Any], *events: asyncio.Event) -> None:
    """Return when the work is done or an event is set. The work goes on."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait([work, *waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
