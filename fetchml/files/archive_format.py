"""Writes a task's outputs as one archive, piece by piece: memory holds one piece and the names.

Nothing is compressed. Models and pictures are already, and compressing for every download would
take the processor from the tasks.
"""

import io
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fetchml.core.requests.download_names import ArchiveFormat, ArchiveNames
from fetchml.files.task_files import open_inside

PIECE_BYTES = 256 * 1024
_LAST_TAR_SECOND = 0o77777777777


def write(form: ArchiveFormat, root: Path, paths: Sequence[str]) -> Generator[bytes]:
    """Yield an archive of the files below `root`. Raises NotFound if one is gone, EOFError if one
    shrinks: the archive is then incomplete."""
    held = bytearray()
    for piece in _zip(root, paths) if form is ArchiveFormat.ZIP else _tar(root, paths):
        held += piece
        if len(held) >= PIECE_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


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
    found = os.fstat(file.fileno())
    mode = 0o755 if found.st_mode & stat.S_IXUSR else 0o644
    return _Status(found.st_size, mode, found.st_mtime_ns // 1_000_000_000)


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
