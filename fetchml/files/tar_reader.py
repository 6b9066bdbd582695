"""Reads a possibly hostile tar file forwards, in bounded memory and time.

Python's own reader takes time quadratic in the length of an extended header, without letting
another thread run, keeps sparse maps of any length, and accepts a file that breaks off between two
members.
"""

import tarfile
from collections.abc import Iterator
from typing import NamedTuple, Protocol

MAX_HEADER_BYTES = 256 * 1024
"""Maximum of one extended header: some packers store a file's attributes there."""

_BLOCK = 512
_MAX_DIGITS = 20
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_SPARSE = b"GNU.sparse."
_OVERRIDES = (b"path", b"linkpath", b"size")


class Source(Protocol):
    """The tar file as a stream."""

    def read(self, size: int) -> bytes:
        """Return `size` bytes, at most MAX_HEADER_BYTES; fewer only at the end."""

    def skip(self, size: int) -> None: ...

    def tell(self) -> int: ...


class Member(NamedTuple):
    """Paths are unchanged; bytes that are not UTF-8 are surrogates."""

    path: str
    type: bytes
    """As in `tarfile`; files of all kinds are REGTYPE."""
    size: int
    """Bytes of a file, which come next from the source."""
    mode: int
    link: str
    real_size: int | None = None
    """Length of a sparse file in version 1.0 of GNU's format, whose map comes before its data. Its
    type is GNUTYPE_SPARSE, which all other forms of sparse files have too; theirs is `None`."""


def members(source: Source) -> Iterator[Member]:
    """Yield the members, skipping what the caller leaves unread. Raises ValueError or
    tarfile.TarError for a malformed or truncated file."""
    extended: dict[bytes, bytes] = {}
    """Fields of the next member from extended headers."""
    while any(block := _read(source, _BLOCK)):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.type == tarfile.GNUTYPE_LONGNAME:
            extended[b"path"] = _extended(source, header.size).partition(b"\0")[0]
        elif header.type == tarfile.GNUTYPE_LONGLINK:
            extended[b"linkpath"] = _extended(source, header.size).partition(b"\0")[0]
        elif header.type in _EXTENDED:
            extended |= _records(_extended(source, header.size))
        elif header.type == tarfile.XGLTYPE:
            # Applies to all members, such as their commit. No packer gives all the same name.
            if not _records(_extended(source, header.size)).keys().isdisjoint(_OVERRIDES):
                raise ValueError("it gives all members one path or size")
        else:
            member = _member(header, extended)
            extended = {}
            begin = source.tell()
            yield member
            if member.type == tarfile.REGTYPE or member.real_size is not None:
                source.skip(begin + _padded(member.size) - source.tell())
    if extended:
        raise ValueError("truncated archive: it ends after an extended header")


def _member(header: tarfile.TarInfo, extended: dict[bytes, bytes]) -> Member:
    path = _text(extended[b"path"]) if b"path" in extended else header.name
    link = _text(extended[b"linkpath"]) if b"linkpath" in extended else header.linkname
    size = _number(extended[b"size"]) if b"size" in extended else header.size
    kind = tarfile.REGTYPE if header.type in _FILES else header.type
    if size < 0:
        raise ValueError("a member has a negative size")
    if any(name.startswith(_SPARSE) for name in extended):
        if kind != tarfile.REGTYPE or extended.get(b"GNU.sparse.major") != b"1":
            return Member(path, tarfile.GNUTYPE_SPARSE, size, header.mode, link)
        real = _number(extended.get(b"GNU.sparse.realsize", b""))
        return Member(path, tarfile.GNUTYPE_SPARSE, size, header.mode, link, real)
    return Member(path.rstrip("/") if header.isdir() else path, kind, size, header.mode, link)


def _records(data: bytes) -> dict[bytes, bytes]:
    """Return the known fields of lines `LENGTH NAME=VALUE`; the length is that of the whole
    line."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + _MAX_DIGITS)
        end = at + _number(data[at : max(space, at)])
        if not space < end <= len(data) or data[end - 1 : end] != b"\n":
            raise ValueError("invalid extended header")
        name, _, value = data[space + 1 : end - 1].partition(b"=")
        if name in _OVERRIDES or name.startswith(_SPARSE):
            records[name] = value
        at = end
    return records


def _extended(source: Source, size: int) -> bytes:
    if not 0 <= size <= MAX_HEADER_BYTES - _BLOCK:
        raise ValueError("it has a header that is too long")
    return _read(source, _padded(size))[:size]


def _read(source: Source, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise ValueError("truncated archive: no end-of-archive marker")
    return data


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise ValueError("invalid extended header: expected a number")
    return int(digits)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
