"""Restores a data directory from a backup: completely, or not at all."""

import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import duckdb
import msgspec

from fetchml.adapters.duckdb.database import read_keys
from fetchml.backup.archive import (
    CHECKSUM,
    COMPLETE,
    DATA,
    FORM,
    MARK,
    SECRETS,
    BadBackup,
    is_a_tasks,
    is_of_store,
    may_be_link,
)
from fetchml.core.model import Key, Role
from fetchml.files import layout
from fetchml.files.data_dir import DataDirBusy, NotOwnData, is_taken, lock_data_dir
from fetchml.files.layout import ADMIN_KEY, DATABASE, LOCK, SNAPSHOTS, STORE, TASKS
from fetchml.files.own_file import sync_folder
from fetchml.files.tar_reader import Member, members
from fetchml.system.signals import interruptible

_OF_A_FILE_SYSTEM = {"lost+found"}
"""Entries of a new file system's root, and so of a mount point."""
_PIECE_BYTES = 256 * 1024
_decode_key = msgspec.json.Decoder(Key).decode


class RestoreReport(NamedTuple):
    """What `fetchml restore` shows."""

    is_checked: bool
    """Whether the backup has a checksum, which matched. Those of older releases have none."""
    admin_keys: tuple[Key, ...] | None
    """The valid admin keys of the restored server, oldest first; `None` if the database cannot be
    read here."""
    has_key_file: bool
    """Whether the backup has the file with the admin key."""


def restore(archive: BinaryIO, data_dir: Path) -> RestoreReport:
    """Restore the data directory, completely or not at all. Raises BadBackup, OSError."""
    data_dir = data_dir.resolve()
    if data_dir.exists():
        with _taken(data_dir) as owner, _draft(data_dir, ".restoring-") as draft:
            with interruptible():
                restored = _unpack(archive, draft)
                _hand_over(draft / DATA, owner)
            _move_up(draft / DATA, data_dir)
    else:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        with _draft(data_dir.parent, f"{data_dir.name}.restoring-") as draft:
            with interruptible():
                restored = _unpack(archive, draft)
            (draft / DATA).chmod(0o700)
            (draft / DATA).rename(data_dir)
            sync_folder(data_dir.parent)
    return restored


@contextmanager
def _draft(folder: Path, prefix: str) -> Iterator[Path]:
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        yield draft
    finally:
        shutil.rmtree(draft)


@contextmanager
def _taken(data_dir: Path) -> Iterator[tuple[int, int]]:
    """Lock out everybody else from an empty folder, and yield its owner's uid and gid. A failure
    leaves the folder as it was. It is never replaced: it may be a mount point.

    Raises BadBackup, OSError.
    """
    if not data_dir.is_dir():
        raise BadBackup(f"{data_dir} is no folder: move it away first, it is never overwritten")
    if is_taken(data_dir):
        raise BadBackup(f"a server runs on {data_dir}, or another restore: stop it first")
    _require_empty(data_dir)
    before = data_dir.stat()
    owner, here = (before.st_uid, before.st_gid), (os.geteuid(), os.getegid())
    try:
        # Root's until it is complete: its owner could otherwise place links in root's way.
        if owner != here:
            os.chown(data_dir, *here)
        data_dir.chmod(0o700)
        _require_empty(data_dir)
        with _locked(data_dir, owner):
            yield owner
    except BaseException:
        data_dir.chmod(stat.S_IMODE(before.st_mode))
        raise
    finally:
        _give(data_dir, owner)


def _require_empty(data_dir: Path) -> None:
    if found := sorted({path.name for path in data_dir.iterdir()} - _OF_A_FILE_SYSTEM):
        raise BadBackup(
            f"{data_dir} is not empty ({found[0]!r} is in it): move it away first, it is never "
            "overwritten"
        )


@contextmanager
def _locked(data_dir: Path, owner: tuple[int, int]) -> Iterator[None]:
    """While inside, no server can start on it. The lock file stays after success.

    Raises BadBackup, OSError.
    """
    try:
        lock = lock_data_dir(data_dir)
    except (DataDirBusy, NotOwnData) as error:
        raise BadBackup(str(error)) from error
    try:
        _give(data_dir / LOCK, owner)
        yield
    except BaseException:
        (data_dir / LOCK).unlink()
        raise
    finally:
        lock.release()


def _move_up(root: Path, data_dir: Path) -> None:
    """Move all entries or none. The store comes last: without it the rest means nothing.

    Raises BadBackup, OSError.
    """
    names = sorted((path.name for path in root.iterdir()), key=lambda name: (name == STORE, name))
    moved = list[str]()
    try:
        for name in names:
            if os.path.lexists(data_dir / name):
                raise BadBackup(f"{data_dir / name} is there now: it is never overwritten")
            if name == STORE:
                sync_folder(data_dir)
            moved.append(name)
            (root / name).rename(data_dir / name)
        sync_folder(data_dir)
    except BaseException:
        for name in reversed(moved):
            with suppress(FileNotFoundError):
                (data_dir / name).rename(root / name)
        raise


def _unpack(archive: BinaryIO, draft: Path) -> RestoreReport:
    """Raises BadBackup, OSError."""
    source = _ArchiveReader(archive)
    unpacking = _DraftWriter(draft, source)
    last, checksum = None, b""
    try:
        for number, member in enumerate(members(source)):
            if (number == 0) != (member.path == MARK):
                raise BadBackup("this is no backup of FetchML")
            if number == 0 and source.read(min(member.size, 9)) != FORM:
                raise BadBackup("this backup was made by a newer FetchML: use that one")
            last = member.path
            if last == COMPLETE:
                found = source.hexdigest_before_last_read()
                checksum = source.read(min(member.size, 99))
            unpacking.add(member)
    except (tarfile.TarError, ValueError, FileExistsError, NotADirectoryError) as error:
        if last is None:
            raise BadBackup(f"this is no backup of FetchML: {error}") from error
        raise BadBackup(f"this backup was cut off, or is damaged: {error}") from error
    if last != COMPLETE:
        raise BadBackup("this backup was cut off, or is damaged: its end is missing")
    if checksum and checksum != f"{CHECKSUM}{found}\n".encode():
        raise BadBackup(
            f"this backup is damaged: its checksum is {CHECKSUM}{found}, and was "
            f"{checksum.decode(errors='replace').strip()} when it was made. Use another copy of it"
        )
    unpacking.finish()
    root = draft / DATA
    return RestoreReport(bool(checksum), _admin_keys(root), (root / ADMIN_KEY).exists())


def _admin_keys(root: Path) -> tuple[Key, ...] | None:
    """Return the admin keys that are neither revoked nor expired."""
    now = time.time_ns() // 1_000_000
    try:
        found = map(_decode_key, read_keys(root / STORE / DATABASE))
        keys = [key for key in found if key.role is Role.ADMIN and key.revoked_at is None]
    except (duckdb.Error, msgspec.MsgspecError):
        return None
    return tuple(key for key in keys if key.expires_at is None or key.expires_at > now)


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
        place = self._draft / path
        match member.type:
            case tarfile.SYMTYPE:
                if may_be_link(path):
                    self._links.append((place, member.link))
            case tarfile.DIRTYPE:
                place.mkdir(mode=0o700, parents=True)
            case tarfile.REGTYPE:
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._write(place, member)

    def _write(self, place: Path, member: Member) -> None:
        left = member.size
        with place.open("xb") as file:
            while left:
                piece = self._source.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise ValueError("it breaks off within a file")
                file.write(piece)
                left -= len(piece)
            file.flush()
            os.fsync(file.fileno())
        place.chmod(0o600 | member.mode & stat.S_IXUSR)

    def finish(self) -> None:
        """Make the links, last: nothing may be written through them."""
        for place, target in self._links:
            place.symlink_to(target)


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
        case (name,) if name in (STORE, SNAPSHOTS, TASKS):
            fits = member.type == tarfile.DIRTYPE
        case (layout.STORE, name):
            fits = is_of_store(name) and member.type == tarfile.REGTYPE
        case (layout.SNAPSHOTS | layout.TASKS, _, *_):
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


def _hand_over(root: Path, owner: tuple[int, int]) -> None:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            _give(Path(folder) / name, owner)


def _give(path: Path, owner: tuple[int, int]) -> None:
    if owner != (os.geteuid(), os.getegid()):
        os.chown(path, *owner, follow_symlinks=False)
