"""Blocking work in threads.

A thread can't be stopped. So a caller that is cancelled returns only when its work has ended: what
the work made is there, to be removed, and nothing writes behind the caller's back.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from fetchml.errors import DiskFull
from fetchml.system.locks import KeyedLocks

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Like `asyncio.to_thread`, but a cancelled call returns only when the work has ended."""
    return await until_end(asyncio.ensure_future(asyncio.to_thread(work, *args, **options)))


async def until_end(working: asyncio.Future[T]) -> T:
    """Return the result of work that goes on if the caller is cancelled; then the call raises when
    the work has ended."""
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
        working.exception()  # No other code retrieves the exception.


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


class UserThreads:
    """Threads for one kind of work that users cause. Calls for one user wait for each other, so
    that no user occupies all threads."""

    def __init__(self, name: str, count: int) -> None:
        self._threads = WorkerThreads(name, count)
        self._turns = KeyedLocks()

    async def run(self, user: str, work: Callable[[Callable[[], None]], T]) -> T:
        """See `WorkerThreads.run`."""
        async with self._turns.hold(user):
            return await self._threads.run(work)


class WorkerThread:
    """A daemon thread that runs one call after the other. It does not keep the process alive."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = queue.SimpleQueue[Callable[[], None] | None]()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def call(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        self._work.put(lambda: resolve(future, function, *arguments))
        return future

    def end(self) -> None:
        """End the thread after the calls so far."""
        self._work.put(None)

    def _run(self) -> None:
        while work := self._work.get():
            work()


def resolve(future: asyncio.Future[T], function: Callable[..., T], *arguments: Any) -> None:
    """Call a function in this thread, and resolve a future in the future's event loop."""
    try:
        result = function(*arguments)
    except BaseException as error:  # noqa: BLE001 - raised where the future is awaited
        _post(future, future.set_exception, error)
    else:
        _post(future, future.set_result, result)


def _post(future: asyncio.Future[T], finish: Callable[[Any], None], value: object) -> None:
    def finish_unless_cancelled() -> None:
        if not future.done():
            finish(value)

    with suppress(RuntimeError):  # The loop is closed, so nothing waits for the future.
        future.get_loop().call_soon_threadsafe(finish_unless_cancelled)
