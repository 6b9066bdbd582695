"""Archives of all outputs of a task, written while they are sent."""

import io
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fetchml.core.requests.download_names import ArchiveFormat, ArchiveNames
from fetchml.errors import BadRequest, Overloaded, RateLimited, Unavailable
from fetchml.files.task_files import (
    MAX_OUTPUT_FILES,
    MOST_PATH_BYTES,
    TaskFiles,
    open_inside,
    path_bytes,
)
from fetchml.system.caller_budget import CallerBudget

PIECE_BYTES = 256 * 1024
_LAST_TAR_SECOND = 0o77777777777


def write(form: ArchiveFormat, root: Path, paths: Sequence[str]) -> Generator[bytes]:
    """Yield an archive of the files below `root`. Raises NotFound if one is gone, EOFError if one
    shrinks: the archive is then incomplete."""
    buffer = bytearray()
    for piece in _zip(root, paths) if form is ArchiveFormat.ZIP else _tar(root, paths):
        buffer += piece
        if len(buffer) >= PIECE_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _zip(root: Path, paths: Sequence[str]) -> Iterator[bytes]:
    sink = _Sink()
    names = ArchiveNames()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in paths:
            with open_inside(root, path) as file:
                status = _status(file)
                info = zipfile.ZipInfo(names.name(path), _zip_time(status.modified_at))
                info.external_attr = (stat.S_IFREG | status.mode) << 16
                info.file_size = status.size
                with archive.open(info, "w") as entry:
                    for data in _pieces(file, status.size):
                        entry.write(data)
                        yield sink.take()
            yield sink.take()
    yield sink.take()


def _tar(root: Path, paths: Sequence[str]) -> Iterator[bytes]:
    names = ArchiveNames()
    for path in paths:
        with open_inside(root, path) as file:
            status = _status(file)
            info = tarfile.TarInfo(names.name(path))
            info.size, info.mode = status.size, status.mode
            info.mtime = min(max(0, status.modified_at), _LAST_TAR_SECOND)
            yield info.tobuf(tarfile.PAX_FORMAT)
            yield from _pieces(file, status.size)
            yield b"\0" * (-status.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


class _Status(NamedTuple):
    """The metadata of a file in an archive."""

    size: int
    mode: int
    modified_at: int
    """Seconds since the epoch (UTC)."""


class _Sink(io.RawIOBase):
    """The target of zipfile: it can't seek, so sizes and checksums follow each file."""

    def __init__(self) -> None:
        super().__init__()
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._data += data
        return memoryview(data).nbytes

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


def _status(file: BinaryIO) -> _Status:
    status = os.fstat(file.fileno())
    mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    return _Status(status.st_size, mode, status.st_mtime_ns // 1_000_000_000)


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left > 0:
        data = file.read(min(left, PIECE_BYTES))
        if not data:
            raise EOFError("an output shrank while it was being sent")
        left -= len(data)
        yield data


def _zip_time(seconds: int) -> tuple[int, int, int, int, int, int]:
    """Return a time as zip holds it: UTC, within the years that it can express."""
    first, last = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
    try:
        parts = time.gmtime(seconds)[:6]
    except (OverflowError, ValueError, OSError):
        return first if seconds < 0 else last
    return min(max(parts, first), last)


BY_USER = 2
IN_ALL = 8
RETRY_AFTER = 10
BY_FILE = "download the files one by one, as 'fetchml outputs --download' does"


class OutputsArchive(NamedTuple):
    name: str
    """A file name of letters, digits, `_`, `-` and `.`."""
    pieces: AsyncGenerator[bytes]


class OutputArchives:
    def __init__(self, files: TaskFiles) -> None:
        self._files = files
        self._open = CallerBudget(
            BY_USER,
            IN_ALL,
            caller_error=lambda: RateLimited(
                RETRY_AFTER,
                message=f"More than {BY_USER} of your archives at once: wait until one is complete",
            ),
            total_error=lambda: Overloaded("The server is writing too many archives of outputs"),
        )
        self.hold = self._open.hold
        """Counts an archive of a user while it is written. Raises RateLimited, Overloaded."""

    async def paths(self, task_id: str, user: str) -> list[str]:
        """Return the paths of all outputs. Raises BadRequest if they are too many."""
        files = await self._files.list_outputs(task_id, user, MAX_OUTPUT_FILES + 1)
        if len(files) > MAX_OUTPUT_FILES:
            raise BadRequest(
                f"The task has more than {MAX_OUTPUT_FILES} output files, too many for one "
                f"archive: {BY_FILE}"
            )
        paths = [file.path for file in files]
        if sum(map(path_bytes, paths)) > MOST_PATH_BYTES:
            raise BadRequest(
                f"The paths of the task's outputs are too long for one archive: {BY_FILE}"
            )
        return paths

    async def pieces(
        self, task_id: str, form: ArchiveFormat, paths: list[str]
    ) -> AsyncGenerator[bytes]:
        """Yield the archive. An error on the way means that it is incomplete."""
        written = write(form, self._files.outputs(task_id), paths)
        try:
            while (piece := await self._files.reads(partial(next, written, None))) is not None:
                yield piece
        finally:
            # A thread that is still busy with it after a cancellation ends it by itself.
            with suppress(ValueError, Unavailable):
                await self._files.reads(written.close)
