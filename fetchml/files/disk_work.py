"""Long work on files, in threads of its own: it ends when nobody waits for it any more, and before
the disk is full.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fetchml.system.threads import done

T = TypeVar("T")


class NoRoom(Exception):
    """The disk is nearly full."""


class _Unwanted(Exception):
    """Nobody waits for it any more."""


class DiskWork:
    def __init__(self, name: str, threads: int, has_room: Callable[[], bool]) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._has_room = has_room

    async def run(self, work: Callable[[Callable[[], None]], T]) -> T:
        """What `work` returns, which calls the function that it is given every now and then.

        Cancelling it returns only when the work has ended. Raises NoRoom, and what `work` raises.
        """
        unwanted = threading.Event()

        def check() -> None:
            if unwanted.is_set():
                raise _Unwanted
            if not self._has_room():
                raise NoRoom

        working = self._pool.submit(work, check)
        ending = asyncio.wrap_future(working)
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            unwanted.set()
            if not working.cancel():
                await done(ending)
            raise
