"""What a tar file holds, read forwards and in bounded memory and time: the file may be hostile.

Python's own reader looks through an extended header in a time that grows with the square of its
length, without letting another thread run, keeps sparse maps of any length, and takes a file that
breaks off between two members for a whole one.
"""

import tarfile
from collections.abc import Iterator
from typing import NamedTuple, Protocol

MAX_HEADER_BYTES = 256 * 1024
"""Of one extended header: some packers put a file's attributes in there."""

_BLOCK = 512
_MAX_DIGITS = 20
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_SPARSE = b"GNU.sparse."
_OVERRIDES = (b"path", b"linkpath", b"size")


class Source(Protocol):
    """The tar file as it comes."""

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only at the end. `size` is at most MAX_HEADER_BYTES."""

    def skip(self, size: int) -> None: ...

    def tell(self) -> int: ...


class Member(NamedTuple):
    """Paths are as they stand there; what is not UTF-8 in them became surrogates."""

    path: str
    type: bytes
    """As in `tarfile`; files of all kinds are REGTYPE."""
    size: int
    """Of a file: so many bytes come next from the source."""
    mode: int
    link: str


def members(source: Source) -> Iterator[Member]:
    """Raises ValueError or tarfile.TarError for what is no whole tar file. What of a file is left
    unread is skipped."""
    said: dict[bytes, bytes] = {}
    """What extended headers said of the next member."""
    while any(block := _read(source, _BLOCK)):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.type == tarfile.GNUTYPE_LONGNAME:
            said[b"path"] = _extended(source, header.size).partition(b"\0")[0]
        elif header.type == tarfile.GNUTYPE_LONGLINK:
            said[b"linkpath"] = _extended(source, header.size).partition(b"\0")[0]
        elif header.type in _EXTENDED:
            said |= _records(_extended(source, header.size))
        elif header.type == tarfile.XGLTYPE:
            # Of all members, such as the commit that they are from. Nobody names them all alike.
            if not _records(_extended(source, header.size)).keys().isdisjoint(_OVERRIDES):
                raise ValueError("it gives all members one path or size")
        else:
            member = _member(header, said)
            said = {}
            begin = source.tell()
            yield member
            if member.type == tarfile.REGTYPE:
                source.skip(begin + _padded(member.size) - source.tell())
    if said:
        raise ValueError("it ends after an extended header")


def _member(header: tarfile.TarInfo, said: dict[bytes, bytes]) -> Member:
    path = _text(said[b"path"]) if b"path" in said else header.name
    link = _text(said[b"linkpath"]) if b"linkpath" in said else header.linkname
    size = _number(said[b"size"]) if b"size" in said else header.size
    kind = tarfile.REGTYPE if header.type in _FILES else header.type
    if any(name.startswith(_SPARSE) for name in said):
        kind = tarfile.GNUTYPE_SPARSE
    if size < 0:
        raise ValueError("a member has a negative size")
    return Member(path.rstrip("/") if header.isdir() else path, kind, size, header.mode, link)


def _records(data: bytes) -> dict[bytes, bytes]:
    """Lines of `LENGTH NAME=VALUE`, the length being that of the whole line. Of those only that
    mean something here."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + _MAX_DIGITS)
        end = at + _number(data[at : max(space, at)])
        if not space < end <= len(data) or data[end - 1 : end] != b"\n":
            raise ValueError("an extended header makes no sense")
        name, _, value = data[space + 1 : end - 1].partition(b"=")
        if name in _OVERRIDES or name.startswith(_SPARSE):
            found[name] = value
        at = end
    return found


def _extended(source: Source, size: int) -> bytes:
    if not 0 <= size <= MAX_HEADER_BYTES - _BLOCK:
        raise ValueError("it has a header that is too long")
    return _read(source, _padded(size))[:size]


def _read(source: Source, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise ValueError("it breaks off: its end mark is missing")
    return data


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise ValueError("an extended header has no number where one must be")
    return int(digits)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
