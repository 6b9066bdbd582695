"""Sparse files in a backup, in version 1.0 of GNU tar's format for them, which tar can unpack.

A task can make a file of exabytes that takes no space: its holes must not fill the disk that the
backup is written to. A map precedes the data: the number of its parts, then offset and length of
each, in lines of decimal digits, padded to a whole block.
"""

import errno
import io
import os
from array import array
from collections.abc import Iterator
from tarfile import BLOCKSIZE, TarInfo
from typing import BinaryIO, NamedTuple, Protocol

MOST_PARTS = 1_000_000
_LEAST_HOLE = 64 * 1024
"""Shorter holes become zeros: fewer parts. But no part has more zeros from holes than data: else
files of small pieces in small holes would take many times their space."""
_MOST_DIGITS = 20


class TooManyPartsError(Exception):
    pass


class Part(NamedTuple):
    """Data between two holes."""

    offset: int
    length: int


class Source(Protocol):
    def read(self, size: int) -> bytes: ...


class SparseFile(io.RawIOBase):
    """The content of a member of the archive for an open sparse file."""

    def __init__(self, file: BinaryIO, size: int, parts: "array[int]") -> None:
        """`parts`: offset and length of each."""
        super().__init__()
        self._file = file
        self._size = size
        self._parts = parts
        lines = f"{len(parts) // 2}\n" + "".join(f"{number}\n" for number in parts)
        self._map = io.BytesIO(lines.encode().ljust(_padded(len(lines)), b"\0"))
        self._next = 0
        """The index in `parts` of the part that is being read."""
        self._done = 0
        """Bytes of it that were read."""

    def describe(self, entry: TarInfo) -> None:
        entry.size = self._map.getbuffer().nbytes + sum(self._parts[1::2])
        entry.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": entry.name,
            "GNU.sparse.realsize": str(self._size),
        }

    def read(self, size: int = -1) -> bytes:
        """Bytes that the file has lost meanwhile are zeros."""
        content = bytearray(self._map.read(size))
        while len(content) < size and self._next < len(self._parts):
            offset, length = self._parts[self._next : self._next + 2]
            wanted = min(size - len(content), length - self._done)
            data = os.pread(self._file.fileno(), wanted, offset + self._done)
            content += data.ljust(wanted, b"\0")
            self._done += wanted
            if self._done == length:
                self._next, self._done = self._next + 2, 0
        return bytes(content)


def sparse_file(file: BinaryIO, size: int) -> SparseFile | None:
    """Return the content of the first `size` bytes without holes; `None` if there are none. The
    file, of which nothing was read yet, is at its begin afterwards.

    Raises TooManyPartsError, OSError.
    """
    try:
        parts = _parts(file.fileno(), size)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None  # A file system that shows no holes.
    finally:
        os.lseek(file.fileno(), 0, os.SEEK_SET)
    return None if sum(parts[1::2]) == size else SparseFile(file, size, parts)


def _parts(fd: int, size: int) -> "array[int]":
    """Return offset and length of each part. A hole at the end has a part of no bytes behind it:
    GNU tar gives the file its length by that. Raises TooManyPartsError, OSError."""
    parts, end = array("q"), 0
    spare = 0  # Bytes of data in the last part, less those of its zeros.
    while end < size:
        start = _next_data(fd, end, size)
        at, end = end, size if start == size else min(os.lseek(fd, start, os.SEEK_HOLE), size)
        hole, data = start - at, end - start
        if parts and hole < _LEAST_HOLE and hole <= spare:
            parts[-1] = end - parts[-2]
            spare += data - hole
        else:
            parts.extend((start, data))
            spare = data
        if len(parts) > 2 * MOST_PARTS:
            raise TooManyPartsError
    return parts


def _next_data(fd: int, at: int, size: int) -> int:
    try:
        return min(os.lseek(fd, at, os.SEEK_DATA), size)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size  # Only a hole is left, or the file was cut.


def read_map(source: Source, size: int, real_size: int) -> Iterator[Part]:
    """Read the map of a member of `size` bytes, then yield each part before its data is next in the
    source. Raises ValueError for a map that makes no sense."""
    numbers = _Numbers(source)
    count = numbers.next()
    if count > MOST_PARTS:
        raise ValueError("a sparse file has too many parts")
    parts, end, data = array("q"), 0, 0
    for _ in range(count):
        offset, length = numbers.next(), numbers.next()
        if not end <= offset <= offset + length <= real_size:
            raise ValueError("invalid sparse map")
        parts.extend((offset, length))
        end, data = offset + length, data + length
    if numbers.taken + data != size:
        raise ValueError("a sparse file has another length than its parts")
    for at in range(0, len(parts), 2):
        yield Part(parts[at], parts[at + 1])


class _Numbers:
    """The numbers of a map, read in whole blocks."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rest = b""
        self.taken = 0
        """Bytes of the member that the map takes."""

    def next(self) -> int:
        while b"\n" not in self._rest:
            block = self._source.read(BLOCKSIZE)
            self.taken += len(block)
            self._rest += block
            if len(block) < BLOCKSIZE or len(self._rest) > 2 * BLOCKSIZE:
                raise ValueError("invalid sparse map")
        digits, _, self._rest = self._rest.partition(b"\n")
        if not digits.isdigit() or len(digits) >= _MOST_DIGITS or int(digits) >= 1 << 63:
            raise ValueError("invalid sparse map")
        return int(digits)


def _padded(size: int) -> int:
    return -(-size // BLOCKSIZE) * BLOCKSIZE
