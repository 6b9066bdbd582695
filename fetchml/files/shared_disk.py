"""Access to a disk that the nodes of a cluster share, which may be slow or hang."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

THREADS = 16
LIMIT_SECONDS = 10.0


class SharedDisk:
    """Calls blocking functions in threads of its own.

    A thread can't be stopped, so a disk that hangs keeps all of these threads, and no others.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "shared-disk")

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Return what `function` returns. Raises OSError after LIMIT_SECONDS, and what it
        raises."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                return await loop.run_in_executor(self._pool, function)
        except TimeoutError as error:
            raise TimeoutError(f"the shared disk did not answer in {LIMIT_SECONDS:g} s") from error
