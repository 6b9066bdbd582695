"""Blocking work in threads.

A thread can't be stopped. So a caller that is cancelled returns only when its work has ended: what
the work made is there, to be removed, and nothing writes behind the caller's back.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from fetchml.errors import DiskFull

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Like `asyncio.to_thread`, but a cancelled call returns only when the work has ended."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *args, **options))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await wait_for_end(working)
        raise


async def wait_for_end(working: asyncio.Future[T]) -> None:
    """Wait for work whose caller was cancelled, however often the caller is cancelled again (its
    client leaves, and then the server stops)."""
    while not working.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({working})
    if not working.cancelled():
        working.exception()  # Nobody else asks for it.


class _Cancelled(Exception):
    """The caller was cancelled."""


class WorkerThreads:
    """Threads for one kind of long work, which stops soon after its caller was cancelled."""

    def __init__(
        self, name: str, count: int, *, has_room: Callable[[], bool] = lambda: True
    ) -> None:
        """`has_room`: whether the disk has space to go on. Called in the threads."""
        self._pool = ThreadPoolExecutor(count, name)
        self._has_room = has_room

    async def run(self, work: Callable[[Callable[[], None]], T]) -> T:
        """Return what `work` returns. It has to call its argument now and then.

        Raises DiskFull, and what `work` raises. A cancelled call returns when the work has ended.
        """
        cancelled = threading.Event()

        def check() -> None:
            if cancelled.is_set():
                raise _Cancelled
            if not self._has_room():
                raise DiskFull

        working = self._pool.submit(work, check)
        ending = asyncio.wrap_future(working)
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            cancelled.set()
            if not working.cancel():
                await wait_for_end(ending)
            raise
