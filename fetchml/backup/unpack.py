"""Unpacks the archive of a backup, which may be damaged or hostile."""

import hashlib
import os
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fetchml.backup.archive import (
    CHECKSUM,
    COMPLETE,
    DATA,
    EARLIER_FORM,
    FORM,
    MARK,
    SECRETS,
    BadBackup,
    is_a_tasks,
    is_of_store,
    may_be_link,
)
from fetchml.backup.sparse import read_map
from fetchml.files import layout
from fetchml.files.layout import SNAPSHOTS, STORE, TASKS, TRACKING
from fetchml.files.tar_reader import Member, members

FORMS = (FORM, EARLIER_FORM)
_PIECE_BYTES = 256 * 1024


def unpack(archive: BinaryIO, draft: Path) -> bool:
    """Unpack a complete archive into the draft folder; returns whether it has a checksum, which
    matched. Raises BadBackup, OSError."""
    source = _ArchiveReader(archive)
    unpacking = _DraftWriter(draft, source)
    last, checksum = None, b""
    try:
        for number, member in enumerate(members(source)):
            if (number == 0) != (member.path == MARK):
                raise BadBackup("this is not a backup of FetchML")
            if number == 0 and source.read(min(member.size, 9)) not in FORMS:
                raise BadBackup("this backup was made by a newer FetchML: use that one")
            last = member.path
            if last == COMPLETE:
                actual = source.hexdigest_before_last_read()
                checksum = source.read(min(member.size, 99))
            unpacking.add(member)
    except (tarfile.TarError, ValueError, FileExistsError, NotADirectoryError) as error:
        if last is None:
            raise BadBackup(f"this is not a backup of FetchML: {error}") from error
        raise BadBackup(f"truncated or damaged archive: {error}") from error
    if last != COMPLETE:
        raise BadBackup("truncated archive: no end mark")
    if checksum and checksum != f"{CHECKSUM}{actual}\n".encode():
        raise BadBackup(
            f"this backup is damaged: its checksum is {CHECKSUM}{actual}, and was "
            f"{checksum.decode(errors='replace').strip()} when it was made. Use another copy of it"
        )
    unpacking.finish()
    return bool(checksum)


class _ArchiveReader:
    """Reads the archive once, forwards, and computes its checksum."""

    def __init__(self, archive: BinaryIO) -> None:
        self._archive = archive
        self._sum = hashlib.sha256()
        self._last = b""
        self._position = 0

    def read(self, size: int) -> bytes:
        self._sum.update(self._last)
        self._last = self._archive.read(size)
        self._position += len(self._last)
        return self._last

    def skip(self, size: int) -> None:
        while size > 0 and (piece := self.read(min(size, _PIECE_BYTES))):
            size -= len(piece)

    def tell(self) -> int:
        return self._position

    def hexdigest_before_last_read(self) -> str:
        """After the header of a member was read: the checksum of everything before that header."""
        return self._sum.hexdigest()


class _DraftWriter:
    """Writes the members of an archive below a draft folder."""

    def __init__(self, draft: Path, source: _ArchiveReader) -> None:
        self._draft = draft
        self._source = source
        self._links = list[tuple[Path, str]]()

    def add(self, member: Member) -> None:
        """Raises BadBackup, ValueError, OSError."""
        path = PurePosixPath(member.path)
        if path.parts[:1] != (DATA,):
            return
        if len(path.parts) == 1 or ".." in path.parts:
            raise _foreign(member)
        _require_place(path, member)
        target_path = self._draft / path
        match member.type:
            case tarfile.SYMTYPE:
                if may_be_link(path):
                    self._links.append((target_path, member.link))
            case tarfile.DIRTYPE:
                target_path.mkdir(mode=0o700, parents=True)
            case tarfile.REGTYPE:
                target_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._write(target_path, member)
            case tarfile.GNUTYPE_SPARSE if member.real_size is not None:
                target_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._write(target_path, member)
            case _:
                raise _foreign(member)

    def _write(self, path: Path, member: Member) -> None:
        with path.open("xb") as file:
            if member.real_size is None:
                self._copy(member.size, file)
            else:
                file.truncate(member.real_size)
                for part in read_map(self._source, member.size, member.real_size):
                    file.seek(part.offset)
                    self._copy(part.length, file)
            file.flush()
            os.fsync(file.fileno())
        path.chmod(0o600 | member.mode & stat.S_IXUSR)

    def _copy(self, left: int, file: BinaryIO) -> None:
        while left:
            piece = self._source.read(min(left, _PIECE_BYTES))
            if not piece:
                raise ValueError("truncated archive: it ends within a file")
            file.write(piece)
            left -= len(piece)

    def finish(self) -> None:
        """Make the links, last: nothing may be written through them."""
        for path, target in self._links:
            path.symlink_to(target)


def _require_place(path: PurePosixPath, member: Member) -> None:
    """Raise BadBackup for a member that no backup has.

    Of the server's own files only those below are in a backup, and none is a link. A running task
    may replace a folder of its attempt with a link, which older releases included: such a link is
    omitted.
    """
    is_link = member.type == tarfile.SYMTYPE
    match path.parts[1:]:
        case (name,) if name in SECRETS:
            fits = member.type == tarfile.REGTYPE
        case (name,) if name in (STORE, SNAPSHOTS, TASKS, TRACKING):
            fits = member.type == tarfile.DIRTYPE
        case (layout.STORE, name):
            fits = is_of_store(name) and member.type == tarfile.REGTYPE
        case (layout.SNAPSHOTS | layout.TASKS | layout.TRACKING, _, *_):
            fits = not is_link or may_be_link(path) or is_a_tasks(path)
        case _:
            fits = False
    if not fits:
        raise _foreign(member)


def _foreign(member: Member) -> BadBackup:
    kind = "a link at " if member.type == tarfile.SYMTYPE else ""
    return BadBackup(
        f"no backup of FetchML has {kind}{member.path!r}: this one was made or changed by "
        "something else. Do not use it"
    )
