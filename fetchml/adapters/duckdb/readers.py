"""Reads of the store, in threads. Reads that may take long have separate threads and a time
limit, so that they do not delay others."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import duckdb

from fetchml.adapters.duckdb.database import Database
from fetchml.ports.store import ReadTooLong

READERS = 4
SLOW_READERS = 2
SLOW_READ_S = 8.0
"""The longest time of one slow read."""
NICE = 5
"""Of the threads of slow reads."""
INTERRUPT_AGAIN_S = 0.1
"""An interrupt between two statements of a read has no effect."""

T = TypeVar("T")
Read = Callable[[duckdb.DuckDBPyConnection], T]


class Readers:
    """Used from one event loop."""

    def __init__(self, database: Database, wait_folded: Callable[[], None]) -> None:
        """`wait_folded`: blocks until `tasks` has all durable changes."""
        self._database = database
        self._wait_folded = wait_folded
        self._thread_local = threading.local()
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._slow_threads = ThreadPoolExecutor(
            SLOW_READERS, thread_name_prefix="store-slow", initializer=_yield_to_others
        )
        self._slow_places = asyncio.Semaphore(SLOW_READERS)

    async def read(
        self,
        read: Read[T],
        *,
        folded: bool = False,
        slow: bool = False,
        after: Callable[[], None] | None = None,
    ) -> T:
        """Run a read. `folded`: wait until `tasks` has all durable changes. `after`: called before
        the read, in its thread; it may wait.

        `slow`: it may take long. Raises ReadTooLong. If the caller is cancelled, a read that waits
        never starts, and one that runs has ended on return.
        """
        wait = self._wait_folded if folded else after
        if slow:
            return await self._read_slowly(read, wait)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._with_cursor, read, wait)

    def close(self) -> None:
        self._threads.shutdown()
        self._slow_threads.shutdown()

    def _with_cursor(self, read: Read[T], wait: Callable[[], None] | None) -> T:
        cursor = getattr(self._thread_local, "cursor", None)
        if cursor is None:
            cursor = self._thread_local.cursor = self._database.cursor()
        if wait is not None:
            wait()
        with self._database.reading():
            return read(cursor)

    async def _read_slowly(self, read: Read[T], wait: Callable[[], None] | None) -> T:
        loop = asyncio.get_running_loop()
        async with self._slow_places:
            cursor = await loop.run_in_executor(self._slow_threads, self._slow_cursor, wait)
            reading = loop.run_in_executor(self._slow_threads, self._with_slow, read, cursor)
            reading.add_done_callback(partial(_close, cursor))
            try:
                await asyncio.wait([reading], timeout=SLOW_READ_S)
                if not reading.done():
                    raise ReadTooLong
                return reading.result()
            finally:
                while not reading.done():
                    cursor.interrupt()
                    await asyncio.wait([reading], timeout=INTERRUPT_AGAIN_S)

    def _slow_cursor(self, wait: Callable[[], None] | None) -> duckdb.DuckDBPyConnection:
        """Return a cursor for one read: after an interrupt it is not used again."""
        if wait is not None:
            wait()
        return self._database.cursor()

    def _with_slow(self, read: Read[T], cursor: duckdb.DuckDBPyConnection) -> T:
        with self._database.reading(slow=True):
            return read(cursor)


def _yield_to_others() -> None:
    """Lower the priority of this thread: where all cores are busy, submits go first."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _close(cursor: duckdb.DuckDBPyConnection, reading: asyncio.Future[T]) -> None:
    if not reading.cancelled():
        reading.exception()  # No caller waits for the error of an interrupted read.
    cursor.close()


@contextmanager
def snapshot(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Several statements that see the same state."""
    cursor.begin()
    try:
        yield
    finally:
        cursor.rollback()
