"""Access to a disk that the nodes of a cluster share, which may be slow or hang."""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

THREADS = 16
LIMIT_SECONDS = 10.0
_FAULTS = frozenset(
    [
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.ENODEV,
        errno.ENXIO,
        errno.EREMOTEIO,
        errno.EROFS,
        errno.ESHUTDOWN,
    ]
)
"""Errors of the disk itself: they pass, and mean no missing file."""


class SharedDisk:
    """Calls blocking functions in threads of its own.

    A thread can't be stopped, so a disk that hangs keeps all of these threads, and no others.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "shared-disk")
        self._stuck = 0
        """Threads whose call has taken longer than the limit."""

    @property
    def answers(self) -> bool:
        """Whether no call has taken longer than the limit and goes on."""
        return self._stuck == 0

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Return what `function` returns. Raises OSError after LIMIT_SECONDS, and what it
        raises."""
        if self._stuck >= THREADS:  # Nothing more waits for a disk that hangs.
            raise TimeoutError("the shared disk does not answer")
        call = self._pool.submit(function)
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                return await asyncio.wrap_future(call)
        except TimeoutError as error:
            if call.running():
                self._stuck += 1
                loop = asyncio.get_running_loop()
                call.add_done_callback(lambda _: self._tell(loop))
            raise TimeoutError(f"the shared disk did not answer in {LIMIT_SECONDS:g} s") from error

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread that is free again."""
        with suppress(RuntimeError):  # The server has stopped meanwhile.
            loop.call_soon_threadsafe(self._freed)

    def _freed(self) -> None:
        self._stuck -= 1


def is_fault(error: BaseException | None) -> bool:
    """Whether the disk caused an error, directly or as the cause of another one."""
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        if isinstance(error, OSError):
            return error.errno in _FAULTS
        error = error.__cause__
    return False


def not_mounted(path: object) -> OSError:
    """The error for a folder that is not the one that it was."""
    return OSError(errno.ESTALE, "it is not the folder that it was: is it mounted?", str(path))
