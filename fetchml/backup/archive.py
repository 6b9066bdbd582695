"""The archive of a backup: one tar file with everything of a data directory that is irreplaceable.

    fetchml-backup          first: the version of this format
    data/store/             the database
    data/snapshots/
    data/admin.key, data/jupyter.key, data/secrets.key, data/notifications.key,
    data/tracking.key       only on request: they open a server, or sign in its name
    data/tracking/          files of runs and logged models
    data/tasks/ID/outputs/, data/tasks/ID/attempts/N/   results, logs, how attempts ended
    complete                last: `sha256:HEX` of everything before it. Without it the archive is
                            truncated

Omitted are workspaces and checkpoints (users' files, each with its owner), datasets (fetched
again), the tasks' private copies of snapshots, attempts that never started, the keys of ways into
attempts on nodes, sockets and locks.
Files of tasks are untrusted: no link is followed, only folders, files and links are included, and
holes of sparse files take no space (see `sparse`).
Unreadable entries of an attempt's folder are omitted, so that no running task can prevent a backup.
"""

import errno
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from fetchml.backup.sparse import TooManyPartsError, sparse_file
from fetchml.files import attempt_records, layout, secrets_file
from fetchml.files.data_dir import DataDirBusy, ForeignDataDir, lock_data_dir

FORM = b"2\n"
EARLIER_FORM = b"1\n"
"""Without sparse files; older releases read no other."""
MARK, COMPLETE, DATA = "fetchml-backup", "complete", "data"
CHECKSUM = "sha256:"
SECRETS = (
    layout.ADMIN_KEY,
    layout.JUPYTER_KEY,
    layout.SECRETS_KEY,
    layout.NOTIFICATIONS_KEY,
    layout.TRACKING_KEY,
)
"""The admin key in plain text, and the keys from which tokens of Jupyter services and of tasks and
secrets of webhooks are derived, and that users' secrets are encrypted with."""
_DEEPEST = 110
"""Deeper than the outputs of any task."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

_UNREADABLE = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO}
"""Errors of an entry whose mode denies access, or that a link or a socket has replaced."""


class BadBackup(Exception):
    """The backup cannot be made or restored; the message gives the reason. Nothing was changed."""


@contextmanager
def resting_store(data_dir: Path) -> Iterator[Path]:
    """Yield the store's folder; meanwhile no server can start on it. Raises BadBackup."""
    if not (data_dir / layout.STORE).is_dir():
        raise BadBackup(f"{data_dir} is not a data directory of FetchML")
    try:
        lock = lock_data_dir(data_dir)
    except (DataDirBusy, ForeignDataDir) as error:
        raise BadBackup(str(error)) from error
    try:
        yield data_dir / layout.STORE
    finally:
        lock.release()


def write(
    archive: BinaryIO, data_dir: Path, store: Path, *, with_outputs: bool, with_keys: bool = False
) -> int:
    """Write a backup; returns the number of files and folders that it omits: unreadable ones of
    attempts, and links in places of the server's own below those of tasks and snapshots.

    `store`: a folder with the store's files, which nothing changes. `with_keys`: include SECRETS.
    Raises BadBackup, OSError.
    """
    parts = [
        *(SECRETS if with_keys else ()),
        layout.SNAPSHOTS,
        *([layout.TASKS, layout.TRACKING] if with_outputs else ()),
    ]
    for path in (store, *(data_dir / name for name in parts)):
        if path.is_symlink():
            raise BadBackup(
                f"{path} is a symbolic link, which a backup does not follow: mount its target "
                "there instead (mount --bind)"
            )
    summed = _ChecksumWriter(archive)
    # It has the methods of a file that a new archive uses.
    file = cast("BinaryIO", summed)
    with tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add_bytes(tar, MARK, FORM)
        writer = _ArchiveWriter(tar)
        root = os.open(store, _FOLDER)
        try:
            _add_store(writer, root)
        finally:
            os.close(root)
        root = os.open(data_dir, _FOLDER)
        try:
            for name in parts:
                writer.add(root, name, f"{DATA}/{name}")
        finally:
            os.close(root)
        _add_bytes(tar, COMPLETE, f"{CHECKSUM}{summed.hexdigest()}\n".encode())
    return writer.left_out


def _add_store(writer: "_ArchiveWriter", root: int) -> None:
    """Raises BadBackup, OSError."""
    names = _names(root)
    if layout.DATABASE not in names:
        raise BadBackup(f"{layout.DATABASE} not found in the store")
    for name in names:
        if is_of_store(name):
            writer.add(root, name, f"{DATA}/{layout.STORE}/{name}")


def is_of_store(name: str) -> bool:
    """Return whether a file of this name in the store's folder belongs to the database."""
    return name.startswith((layout.DATABASE, layout.HEADER_COPY))


def may_be_link(path: PurePosixPath) -> bool:
    """Return whether a backup may have a link at this path: only inside trees of users or tasks.
    The server opens everything above by path, so a link there could lead anywhere."""
    match path.parts[1:]:
        case (layout.TASKS, _, layout.OUTPUTS, _, *_):
            return True
        case (layout.TASKS, _, layout.ATTEMPTS, _, _, _, *_):
            return True
        case (layout.SNAPSHOTS, _, "tree", _, *_):
            return True
    return False


def _wanted(path: PurePosixPath, parent: int, name: str) -> bool:
    """Return whether a backup includes this entry. `parent`: a descriptor of its folder."""
    match path.parts[1:]:
        case (layout.SNAPSHOTS, ".new") | (layout.TRACKING, layout.TRACKING_DRAFTS):
            return False
        case (layout.TASKS, _, layout.ATTEMPTS, _):
            return _lies_in(parent, f"{name}/{layout.OPENED}")
        case (
            layout.TASKS,
            _,
            layout.ATTEMPTS,
            _,
            layout.WORKSPACE | layout.DATASETS | layout.VOLUMES | layout.SECRETS,
        ):
            return False
        case (layout.TASKS, _, layout.ATTEMPTS, _, layout.RUN, secrets_file.NAME):
            return False
        case (layout.TASKS, _, layout.ATTEMPTS, _, layout.CONTROL, record):
            return not record.startswith(attempt_records.ENTER)  # A private key, also in a draft.
        case (layout.TASKS, _, layout.CHECKPOINT | layout.CHECKPOINT_DRAFT):
            return False
    return True


def is_a_tasks(path: PurePosixPath) -> bool:
    """Return whether the path lies in an attempt's folder, where a running task may do anything."""
    match path.parts[1:]:
        case (layout.TASKS, _, layout.ATTEMPTS, _, _, *_):
            return True
    return False


def _require_own(parent: int, name: str, path: str) -> None:
    """Refuse a backup that would lack every task's logs: of a server that has given each user's
    tasks a uid. No task can cause this by itself. Raises BadBackup."""
    match PurePosixPath(path).parts[1:]:
        case (layout.TASKS, _, layout.ATTEMPTS, _, layout.RUN | layout.OUTPUTS):
            owner = os.stat(name, dir_fd=parent, follow_symlinks=False).st_uid
            if owner != os.geteuid():
                raise BadBackup(
                    f"{path.removeprefix(f'{DATA}/')} belongs to the uid {owner} of a user's "
                    "tasks, and only root may read it. Make the backup as root (sudo fetchml "
                    "backup …), or without logs and outputs (--no-tasks)"
                )


def _is_the_stores(path: PurePosixPath) -> bool:
    return path.parts[1:2] == (layout.STORE,)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def _lies_in(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


class _ArchiveWriter:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.left_out = 0

    def add(self, parent: int, name: str, path: str, depth: int = 0) -> None:
        """Add an entry with its content. One that vanishes meanwhile is omitted unless it is a file
        of the store. Raises OSError."""
        try:
            opened = _open(parent, name, path, depth)
        except (FileNotFoundError, NotADirectoryError):
            if _is_the_stores(PurePosixPath(path)):
                raise
            return
        except OSError as error:
            if error.errno not in _UNREADABLE or not is_a_tasks(PurePosixPath(path)):
                raise
            _require_own(parent, name, path)
            self.left_out += 1
            return
        if opened is None:
            return
        entry, fd = opened
        if entry.issym() and not may_be_link(PurePosixPath(path)):
            self.left_out += 1
            return
        # The archive remembers every member, of which there can be millions. (Unknown to mypy.)
        self._tar.members.clear()  # type: ignore[attr-defined]
        if fd is None:
            self._tar.addfile(entry)
        elif entry.isdir():
            self._add_folder(entry, fd, depth)
        else:
            with os.fdopen(fd, "rb") as file:
                self._add_file(entry, file)

    def _add_file(self, entry: tarfile.TarInfo, file: BinaryIO) -> None:
        if PurePosixPath(entry.name).parts[1:2] == (layout.TASKS,):
            try:
                sparse = sparse_file(file, entry.size)
            except TooManyPartsError:
                self.left_out += 1
                return
            if sparse is not None:
                sparse.describe(entry)
                self._tar.addfile(entry, cast("BinaryIO", sparse))
                return
        self._tar.addfile(entry, _FixedSizeReader(file, entry.size))

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
    """Return the member of the archive, and a descriptor if it has content; `None` if the backup
    omits the entry. Raises OSError."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    entry = tarfile.TarInfo(path)
    entry.mode, entry.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    if not _wanted(PurePosixPath(path), parent, name):
        return None
    if stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=parent)
        return entry, None
    if stat.S_ISDIR(status.st_mode):
        if depth >= _DEEPEST:
            return None
        entry.type = tarfile.DIRTYPE
        return entry, os.open(name, _FOLDER, dir_fd=parent)
    if not stat.S_ISREG(status.st_mode):
        return None
    fd = os.open(name, _FILE, dir_fd=parent)
    opened = os.fstat(fd)
    if not stat.S_ISREG(opened.st_mode):
        os.close(fd)
        return None
    entry.size = opened.st_size
    return entry, fd


class _FixedSizeReader(io.RawIOBase):
    """Exactly `size` bytes of a file that may grow or shrink meanwhile."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        self._left -= wanted
        return self._file.read(wanted).ljust(wanted, b"\0")


class _ChecksumWriter:
    """Writes to the archive, and computes the checksum of what was written."""

    def __init__(self, archive: BinaryIO) -> None:
        self._archive = archive
        self._sum = hashlib.sha256()
        self._written = 0

    def write(self, data: bytes) -> None:
        self._archive.write(data)
        self._sum.update(data)
        self._written += len(data)

    def tell(self) -> int:
        return self._written

    def hexdigest(self) -> str:
        """Return the checksum of everything written until now."""
        return self._sum.hexdigest()


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
