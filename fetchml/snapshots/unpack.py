"""Unpacks an uploaded archive, which may be hostile, into a folder of its own.

The result has only folders, files and links that stay inside, within the limits, and no permission
but to execute. Nothing is written through a link: an entry below one is rejected. Hard links become
copies.
"""

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from fetchml.core.snapshots import Entry, EntryKind, link_fault, parents, path_fault
from fetchml.files.tar_reader import MAX_HEADER_BYTES, Member, members

PIECE_BYTES = MAX_HEADER_BYTES
"""Bytes that are read at once; enough for the longest header."""


_DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError)
"""Errors of the readers for malformed bytes."""


class UnreadableArchive(Exception):
    """The archive is not a complete gzipped tar file."""


class RefusedArchive(Exception):
    """The archive has an entry that no snapshot may have; the message names it."""


class UnpackLimits(msgspec.Struct, frozen=True):
    max_bytes: int
    """Bytes of all files, unpacked."""
    max_files: int
    """Entries of every kind."""


def unpack(
    archive: Path, tree: Path, limits: UnpackLimits, check: Callable[[], None]
) -> list[Entry]:
    """Unpack into the new folder `tree`; returns its entries.

    Blocks for a long time. `check` is called now and then, and ends the work if it raises. Raises
    UnreadableArchive, RefusedArchive, OSError; what was unpacked until then stays.
    """
    tree.mkdir(0o700)
    with archive.open("rb") as packed, gzip.open(packed, "rb") as plain:
        source = _UnzippedTar(plain, limits, check)
        unpacking = _TreeWriter(tree, limits, check)
        try:
            for member in members(source):
                unpacking.add(member, source)
            source.finish()
        except _DAMAGE as error:
            raise UnreadableArchive(f"invalid or truncated gzipped tar file ({error})") from error
    return list(unpacking.entries.values())


class _UnzippedTar:
    """The unzipped tar file: read forwards, in bounded pieces, and no further than the limits
    allow."""

    def __init__(
        self, plain: gzip.GzipFile, limits: UnpackLimits, check: Callable[[], None]
    ) -> None:
        self._plain = plain
        self._check = check
        self._position = 0
        # Each entry has a header, perhaps two more for a long name, and is padded to a block.
        self._limit = limits.max_bytes + (limits.max_files + 16) * 4096 + PIECE_BYTES

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        self._check()
        data = self._plain.read(size)
        self._position += len(data)
        if self._position > self._limit:
            raise RefusedArchive("unpacked size limit reached")
        return data

    def skip(self, size: int) -> None:
        while size > 0 and (data := self.read(min(PIECE_BYTES, size))):
            size -= len(data)

    def finish(self) -> None:
        """Read to the end, where gzip's checksum is."""
        while self.read(PIECE_BYTES):
            pass


class _TreeWriter:
    """Writes the entries of an archive into the tree."""

    def __init__(self, tree: Path, limits: UnpackLimits, check: Callable[[], None]) -> None:
        self._tree = tree
        self._limits = limits
        self._check = check
        self._bytes = 0
        self.entries: dict[str, Entry] = {}

    def add(self, member: Member, source: _UnzippedTar) -> None:
        path = member.path.removeprefix("./") if member.path != "." else ""
        is_folder = member.type == tarfile.DIRTYPE
        if not path and is_folder:
            return  # The root itself.
        if fault := path_fault(path):
            raise _refused(path, fault)
        for folder in reversed(list(parents(path))):
            self._add_folder(folder)
        if is_folder:
            self._add_folder(path)
        elif member.type == tarfile.SYMTYPE:
            self._add_link(path, member.link)
        elif member.type == tarfile.LNKTYPE:
            self._add_copy(path, member.link.removeprefix("./"))
        elif member.type == tarfile.REGTYPE:
            self._add_file(path, member, source)
        else:
            raise _refused(path, "is not a file, folder or link")

    def _add_folder(self, path: str) -> None:
        there = self.entries.get(path)
        if there is None:
            self._add(Entry(path, EntryKind.FOLDER))
            (self._tree / path).mkdir(0o700)
        elif there.kind is not EntryKind.FOLDER:
            raise _refused(path, f"is a {there.kind} and a folder")

    def _add_link(self, path: str, target: str) -> None:
        if fault := link_fault(path, target):
            raise _refused(path, fault)
        self._add(Entry(path, EntryKind.LINK, content=target))
        (self._tree / path).symlink_to(target)

    def _add_copy(self, path: str, original: str) -> None:
        there = self.entries.get(original)
        if there is None or there.kind not in (EntryKind.FILE, EntryKind.EXECUTABLE):
            raise _refused(path, "is a hard link whose target is not in the snapshot")
        self._count(path, there.size)
        with (self._tree / original).open("rb") as source:
            self._write(path, there.kind, source, there.size)

    def _add_file(self, path: str, member: Member, source: _UnzippedTar) -> None:
        self._count(path, member.size)
        kind = EntryKind.EXECUTABLE if member.mode & 0o100 else EntryKind.FILE
        self._write(path, kind, source, member.size)

    def _count(self, path: str, size: int) -> None:
        """Count a file against the limit, before anything is written."""
        self._bytes += size
        if self._bytes > self._limits.max_bytes:
            rule = f"makes it larger than {self._limits.max_bytes} bytes, unpacked"
            raise _refused(path, rule)

    def _write(
        self, path: str, kind: EntryKind, source: _UnzippedTar | BinaryIO, size: int
    ) -> None:
        # The name is taken first: a second file of that name is rejected before it is written.
        self._add(Entry(path, kind, size))
        mode = 0o700 if kind is EntryKind.EXECUTABLE else 0o600
        fd = os.open(self._tree / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        digest = hashlib.sha256()
        left = size
        with os.fdopen(fd, "wb") as file:
            while left > 0:
                self._check()
                data = source.read(min(PIECE_BYTES, left))
                if not data:
                    raise EOFError("truncated archive: it ends within a file")
                digest.update(data)
                file.write(data)
                left -= len(data)
        self.entries[path] = Entry(path, kind, size, digest.hexdigest())

    def _add(self, entry: Entry) -> None:
        if entry.path in self.entries:
            raise _refused(entry.path, "appears twice")
        if len(self.entries) == self._limits.max_files:
            raise RefusedArchive(f"limit of {self._limits.max_files} files and folders reached")
        self.entries[entry.path] = entry


def _refused(path: str, fault: str) -> RefusedArchive:
    return RefusedArchive(f"{path[:200]!r} {fault}")
