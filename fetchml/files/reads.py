"""Reads of the files of tasks for clients, off the event loop.

On one host they run in the default thread pool. A disk that a cluster shares may hang: its reads
have threads of their own and a time limit, so that they delay nothing else. Even closing a file can
hang there.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fetchml.errors import Unavailable
from fetchml.files.shared_disk import SharedDisk, is_fault

T = TypeVar("T")

PIECE_BYTES = 256 * 1024
LONG_SECONDS = 30.0
"""Longest time of a list of outputs or a search in a log, on a shared disk."""
_AWAY = "No response from the shared folder: try again later"


class FileReads:
    """On a disk of this host. Used from one event loop."""

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Return what `function` returns. Raises what it raises; Unavailable if a shared disk
        fails."""
        return await asyncio.to_thread(function)

    async def long(self, folder: Path, read: Coroutine[Any, Any, T]) -> T:
        """Return what `read` returns, which reads below `folder` in threads of its own for as long
        as that takes, such as a list or a search. Raises what it raises; Unavailable if a shared
        disk fails, or has not answered in LONG_SECONDS."""
        return await read

    def close(self, close: Callable[[], None]) -> None:
        """Call a function that closes a file."""
        close()


class SharedDiskReads(FileReads):
    def __init__(self) -> None:
        self._disk = SharedDisk()
        self._given_up = set[asyncio.Future[Any]]()
        """Long reads whose callers have left; their threads go on."""

    async def __call__(self, function: Callable[[], T], /) -> T:
        try:
            return await self._disk(function)
        except OSError as error:
            if not is_fault(error):
                raise
            raise Unavailable(_AWAY) from error

    async def long(self, folder: Path, read: Coroutine[Any, Any, T]) -> T:
        """A read that is given up ends when its thread does. So that a disk that hangs does not get
        those threads, the folder is looked at first."""
        try:
            await self(partial(os.path.lexists, folder))
        except BaseException:
            read.close()
            raise
        reading = asyncio.ensure_future(read)
        try:
            done, _ = await asyncio.wait({reading}, timeout=LONG_SECONDS)
            if not done:
                raise TimeoutError(
                    f"timed out after {LONG_SECONDS:g} s: no response from the shared folder"
                )
            return reading.result()
        except OSError as error:
            if not is_fault(error):
                raise
            raise Unavailable(_AWAY) from error
        finally:
            if not reading.done():
                reading.cancel()
                self._given_up.add(reading)
                reading.add_done_callback(self._forget)

    def _forget(self, reading: asyncio.Future[Any]) -> None:
        self._given_up.discard(reading)
        if not reading.cancelled():
            reading.exception()  # No other code retrieves the exception.

    def close(self, close: Callable[[], None]) -> None:
        threading.Thread(target=close, name="closes a file", daemon=True).start()


class OpenedFile:
    """A regular file of a task, open for reading."""

    def __init__(self, file: BinaryIO, size: int, etag: str, reads: FileReads) -> None:
        self.size = size
        """In bytes, when it was opened."""
        self.etag = etag
        """A text that changes with its content."""
        self._file = file
        self._reads = reads

    async def read(self, limit: int) -> bytes:
        """Return the first bytes. Raises Unavailable."""
        return await self._reads(partial(_read, self._file, 0, limit))

    async def pieces(self, first: int, size: int) -> AsyncGenerator[bytes]:
        """Yield `size` bytes from `first` on. Raises EOFError if the file is shorter, and
        Unavailable."""
        end = first + size
        while first < end:
            length = min(end - first, PIECE_BYTES)
            data = await self._reads(partial(_read, self._file, first, length))
            if not data:
                raise EOFError("the file shrank while it was being sent")
            first += len(data)
            yield data

    def close(self) -> None:
        self._reads.close(self._file.close)


def _read(file: BinaryIO, first: int, limit: int) -> bytes:
    file.seek(first)
    return file.read(limit)
