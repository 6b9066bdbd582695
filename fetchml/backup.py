"""A backup is one tar archive: all of a data directory that can't be had again.

    fetchml-backup          first: which form this is
    data/store/             the database
    data/admin.key, data/snapshots/
    data/tasks/ID/outputs/, data/tasks/ID/attempts/N/   results, logs, how attempts ended
    complete                last: an archive without it was cut off

Left out: workspaces (users' files, each with its owner), datasets (fetched again), the tasks'
private copies of snapshots, attempts that never began, links to hosts and locks. What tasks made is
read as untrusted: no link is followed, and what is neither folder, file nor link is left out. So is
what can't be read in an attempt's folder: no running task may keep a backup from being made.
"""

import errno
import io
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fetchml.adapters.data_dir import DataDirBusy, is_taken, lock_data_dir, sync_folder

FORM = b"1\n"
MARK, COMPLETE, DATA = "fetchml-backup", "complete", "data"
PARTS = ("admin.key", "snapshots", "tasks")
_OF_A_FILE_SYSTEM = {"lost+found"}
"""In its root from the first, so at a mount point."""
_DEEPEST = 110
"""Deeper than the outputs of any task."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

_UNREADABLE = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO}
"""Of a mode that shuts it, or swapped meanwhile for a link or a socket."""


class BadBackup(Exception):
    """It can't be made or restored; the message says why. Nothing was changed."""


@contextmanager
def resting_store(data_dir: Path) -> Iterator[Path]:
    """The store's folder, while no server can start on it. Raises BadBackup."""
    if not (data_dir / "store").is_dir():
        raise BadBackup(f"no server's data is in {data_dir}")
    try:
        lock = lock_data_dir(data_dir)
    except DataDirBusy as error:
        raise BadBackup(str(error)) from error
    try:
        yield data_dir / "store"
    finally:
        lock.release()


def write(archive: BinaryIO, data_dir: Path, store: Path, *, with_outputs: bool) -> int:
    """`store`: a folder with the store's files, which nothing changes. How many files and folders
    of attempts are left out since they can't be read. Raises OSError."""
    with tarfile.open(fileobj=archive, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add_bytes(tar, MARK, FORM)
        writer = _Writer(tar)
        root = os.open(store, _FOLDER)
        try:
            for name in _names(root):
                if name.startswith(("fetchml.duckdb", "header.copy")):
                    writer.add(root, name, f"{DATA}/store/{name}")
        finally:
            os.close(root)
        root = os.open(data_dir, _FOLDER)
        try:
            for name in PARTS if with_outputs else PARTS[:-1]:
                writer.add(root, name, f"{DATA}/{name}")
        finally:
            os.close(root)
        _add_bytes(tar, COMPLETE, b"")
    return writer.left_out


def restore(archive: BinaryIO, data_dir: Path) -> None:
    """Make the data directory from a backup, whole or not at all. Raises BadBackup, OSError."""
    data_dir = data_dir.resolve()
    try:
        if data_dir.exists():
            with _taken(data_dir) as owner, _draft(data_dir, ".restoring-") as draft:
                _unpack(archive, draft)
                _hand_over(draft / DATA, owner)
                _move_up(draft / DATA, data_dir)
        else:
            data_dir.parent.mkdir(parents=True, exist_ok=True)
            with _draft(data_dir.parent, f"{data_dir.name}.restoring-") as draft:
                _unpack(archive, draft)
                (draft / DATA).chmod(0o700)
                (draft / DATA).rename(data_dir)
                sync_folder(data_dir.parent)
    except tarfile.TarError as error:
        raise BadBackup(f"this is no whole backup: {error}") from error


@contextmanager
def _draft(folder: Path, prefix: str) -> Iterator[Path]:
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        yield draft
    finally:
        shutil.rmtree(draft)


@contextmanager
def _taken(data_dir: Path) -> Iterator[tuple[int, int]]:
    """Keep everybody away from an empty folder, and give its owner's ids; whoever fails leaves it
    as it was. It stays the folder that it is: it may be a mount point. Raises BadBackup, OSError.
    """
    if not data_dir.is_dir():
        raise BadBackup(f"{data_dir} is no folder: move it away first, it is never overwritten")
    if is_taken(data_dir):
        raise BadBackup(f"a server runs on {data_dir}, or another restore: stop it first")
    _require_empty(data_dir)
    before = data_dir.stat()
    owner, here = (before.st_uid, before.st_gid), (os.geteuid(), os.getegid())
    try:
        # Root's until it is full: where its owner may write he can put links in root's way.
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
    """No server can start on it; its lock stays if all went well. Raises BadBackup, OSError."""
    try:
        lock = lock_data_dir(data_dir)
    except DataDirBusy as error:
        raise BadBackup(str(error)) from error
    try:
        _give(data_dir / "lock", owner)
        yield
    except BaseException:
        (data_dir / "lock").unlink()
        raise
    finally:
        lock.release()


def _move_up(root: Path, data_dir: Path) -> None:
    """All or nothing, and the store last: without it nothing of the rest counts. Raises BadBackup,
    OSError."""
    names = sorted((path.name for path in root.iterdir()), key=lambda name: (name == "store", name))
    moved = list[str]()
    try:
        for name in names:
            if os.path.lexists(data_dir / name):
                raise BadBackup(f"{data_dir / name} is there now: it is never overwritten")
            if name == "store":
                sync_folder(data_dir)
            moved.append(name)
            (root / name).rename(data_dir / name)
        sync_folder(data_dir)
    except BaseException:
        for name in reversed(moved):
            with suppress(FileNotFoundError):
                (data_dir / name).rename(root / name)
        raise


def _wanted(path: PurePosixPath, parent: int, name: str) -> bool:
    """`parent`: a descriptor of the folder that has it."""
    match path.parts[1:]:
        case ("snapshots", ".new"):
            return False
        case ("tasks", _, "attempts", _):
            return _lies_in(parent, f"{name}/opened")
        case ("tasks", _, "attempts", _, "workspace" | "datasets"):
            return False
    return True


def _is_a_tasks(path: PurePosixPath) -> bool:
    """Whether it lies in an attempt's folder: a running task makes there what it likes."""
    match path.parts[1:]:
        case ("tasks", _, "attempts", _, _, *_):
            return True
    return False


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def _lies_in(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


class _Writer:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.left_out = 0

    def add(self, parent: int, name: str, path: str, depth: int = 0) -> None:
        """What vanishes meanwhile is left out. Raises OSError."""
        try:
            found = _open(parent, name, path, depth)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno not in _UNREADABLE or not _is_a_tasks(PurePosixPath(path)):
                raise
            self.left_out += 1
            return
        if found is None:
            return
        entry, fd = found
        if fd is None:
            self._tar.addfile(entry)
        elif entry.isdir():
            self._add_folder(entry, fd, depth)
        else:
            with os.fdopen(fd, "rb") as file:
                self._tar.addfile(entry, _Exactly(file, entry.size))

    def _add_folder(self, entry: tarfile.TarInfo, folder: int, depth: int) -> None:
        try:
            self._tar.addfile(entry)
            for name in _names(folder):
                self.add(folder, name, f"{entry.name}/{name}", depth + 1)
        finally:
            os.close(folder)


def _open(
    parent: int, name: str, path: str, depth: int
) -> tuple[tarfile.TarInfo, int | None] | None:
    """Its entry, and a descriptor of what has content; None: not kept. Raises OSError."""
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    entry = tarfile.TarInfo(path)
    entry.mode, entry.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
    entry.uid, entry.gid = found.st_uid, found.st_gid
    if stat.S_ISLNK(found.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=parent)
        return entry, None
    if stat.S_ISDIR(found.st_mode):
        if depth >= _DEEPEST or not _wanted(PurePosixPath(path), parent, name):
            return None
        entry.type = tarfile.DIRTYPE
        return entry, os.open(name, _FOLDER, dir_fd=parent)
    if not stat.S_ISREG(found.st_mode):
        return None
    fd = os.open(name, _FILE, dir_fd=parent)
    opened = os.fstat(fd)
    if not stat.S_ISREG(opened.st_mode):
        os.close(fd)
        return None
    entry.size = opened.st_size
    return entry, fd


class _Exactly(io.RawIOBase):
    """So many bytes of a file that may grow or shrink meanwhile."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        self._left -= wanted
        return self._file.read(wanted).ljust(wanted, b"\0")


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _unpack(archive: BinaryIO, draft: Path) -> None:
    """Raises BadBackup, TarError."""
    links = list[tuple[Path, str]]()
    last = None
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for number, entry in enumerate(tar):
            content = tar.extractfile(entry) if entry.isreg() else None
            if (number == 0) != (entry.name == MARK):
                raise BadBackup("this is no backup of FetchML")
            if number == 0 and (content is None or content.read(9) != FORM):
                raise BadBackup("this backup was made by a newer FetchML: use that one")
            path, last = PurePosixPath(entry.name), entry.name
            if path.parts[:1] != (DATA,):
                continue
            if len(path.parts) == 1 or ".." in path.parts or path.is_absolute():
                raise BadBackup(f"no backup of FetchML has {entry.name!r} in it")
            place = draft / path
            if entry.issym():
                links.append((place, entry.linkname))
            elif entry.isdir():
                place.mkdir(mode=0o700, parents=True)
            elif content is not None:
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with place.open("xb") as file:
                    shutil.copyfileobj(content, file)
                    os.fsync(file.fileno())
                place.chmod(0o600 | entry.mode & stat.S_IXUSR)
    if last != COMPLETE:
        raise BadBackup("this backup was cut off: its end is missing")
    # Last: nothing may be written through them.
    for place, target in links:
        place.symlink_to(target)


def _hand_over(root: Path, owner: tuple[int, int]) -> None:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            _give(Path(folder) / name, owner)


def _give(path: Path, owner: tuple[int, int]) -> None:
    if owner != (os.geteuid(), os.getegid()):
        os.chown(path, *owner, follow_symlinks=False)
