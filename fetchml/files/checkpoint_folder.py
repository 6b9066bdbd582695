"""A task's checkpoint folder: made for the task's user, and copied from another task's.

The source is a hostile task's, which may be running: no link is followed, nothing blocks, and
number and depth are bounded.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fetchml.files import untrusted
from fetchml.files.kept_outputs import sync_file_system
from fetchml.files.untrusted import FOLDER, MAX_DEPTH, TooDeepError
from fetchml.system import failpoints

MOST_ENTRIES = 100_000
"""Files and folders of a checkpoint that is copied."""
_PIECE_BYTES = 16 << 20
_FICLONE = 0x40049409
"""The request of ioctl_ficlone(2): shares all blocks of a file until one side writes."""
_CANNOT_SHARE = frozenset(
    {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}
)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class TooManyFilesError(Exception):
    def __init__(self) -> None:
        super().__init__(f"it has more than {MOST_ENTRIES} files")


class User(NamedTuple):
    """The user who writes to the folder."""

    uid: int
    gid: int


def create(folder: Path, user: User | None) -> bool:
    """Make the folder, empty unless it exists, for this user. `None`: for every user, inside a
    folder that only the server may enter. Return whether it is new. Raises OSError."""
    folder.parent.mkdir(0o700, parents=True, exist_ok=True)
    is_new = True
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        is_new = False
    fd = os.open(folder, FOLDER)
    try:
        if user is not None and os.fstat(fd).st_uid != user.uid:
            _hand_over_tree(fd, user, 0)
        os.fchmod(fd, 0o777 if user is None else 0o700)
    finally:
        os.close(fd)
    return is_new


def copy(source: Path, draft: Path, user: User | None, check: Callable[[], None]) -> None:
    """Make `draft` a durable copy of another task's folder, instead of what is there.

    Folders, regular files and links are copied, links unfollowed; files that vanish meanwhile are
    omitted. `check` raises to end the copy. Raises OSError, TooDeepError, TooManyFilesError.
    """
    root = os.open(source, FOLDER)
    try:
        untrusted.remove(draft)
        draft.parent.mkdir(0o700, parents=True, exist_ok=True)
        draft.mkdir(0o700)
        target = os.open(draft, FOLDER)
        try:
            _Copy(user, check).folder(root, target, 0)
            _give(target, user, 0o700)
            failpoints.reach("checkpoint_written")
            sync_file_system(target)
        finally:
            os.close(target)
    finally:
        os.close(root)


class _Copy:
    """One walk through a tree."""

    def __init__(self, user: User | None, check: Callable[[], None]) -> None:
        self._user = user
        self._check = check
        self._left = MOST_ENTRIES

    def folder(self, source: int, target: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TooDeepError
        with os.scandir(source) as entries:
            names = list[str]()
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    raise TooManyFilesError
                names.append(entry.name)
        for name in names:
            self._check()
            # A running task removes files, and replaces them by others.
            with suppress(FileNotFoundError):
                self._entry(source, target, name, depth)

    def _entry(self, source: int, target: int, name: str, depth: int) -> None:
        mode = os.stat(name, dir_fd=source, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            if self._user is not None:
                os.chown(name, *self._user, dir_fd=target, follow_symlinks=False)
        elif stat.S_ISDIR(mode):
            inner = os.open(name, FOLDER, dir_fd=source)
            try:
                os.mkdir(name, 0o700, dir_fd=target)
                made = os.open(name, FOLDER, dir_fd=target)
                try:
                    self.folder(inner, made, depth + 1)
                    _give(made, self._user, 0o700)
                finally:
                    os.close(made)
            finally:
                os.close(inner)
        elif stat.S_ISREG(mode):
            self._file(source, target, name)

    def _file(self, source: int, target: int, name: str) -> None:
        reader = os.open(name, _READ, dir_fd=source)
        try:
            status = os.fstat(reader)
            if not stat.S_ISREG(status.st_mode):
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            writer = os.open(name, flags, 0o600, dir_fd=target)
            try:
                if not _shares_blocks(reader, writer):
                    self._data(reader, writer, status.st_size)
                # Resuming code picks the newest file.
                os.utime(writer, ns=(status.st_atime_ns, status.st_mtime_ns))
                _give(writer, self._user, 0o600 | status.st_mode & stat.S_IXUSR)
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    def _data(self, reader: int, writer: int, size: int) -> None:
        """Copy `size` bytes, without the holes of a sparse file: those cost its owner nothing."""
        at = 0
        while at < size:
            try:
                at = os.lseek(reader, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # Only a hole is left, or the file was cut.
                    break
                raise
            end = min(size, os.lseek(reader, at, os.SEEK_HOLE))
            while at < end:
                self._check()
                copied = _copy_range(reader, writer, at, min(_PIECE_BYTES, end - at))
                if not copied:
                    return
                at += copied
        os.ftruncate(writer, size)


def newest_change(root: Path) -> int | None:
    """Return when a file below the folder was last written, in milliseconds since the epoch (UTC);
    `None` if there is none. The task can set these times."""
    try:
        files = untrusted.regular_files(root, MOST_ENTRIES)
        return max((status.st_mtime_ns // 1_000_000 for _, status in files), default=None)
    except OSError:
        return None


def _copy_range(reader: int, writer: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(reader, writer, count, at, at)
    except OSError as error:
        if error.errno not in _CANNOT_SHARE:
            raise
        return os.pwrite(writer, os.pread(reader, min(count, 1 << 20), at), at)


def _shares_blocks(reader: int, writer: int) -> bool:
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError as error:
        if error.errno not in _CANNOT_SHARE:
            raise
        return False
    return True


def _give(fd: int, user: User | None, mode: int) -> None:
    """Hand an own file over. Without a user it is open to all: only its folder is closed."""
    if user is not None:
        os.fchown(fd, *user)
    os.fchmod(fd, mode if user is not None else mode | (mode & 0o700) >> 3 | (mode & 0o700) >> 6)


def _hand_over_tree(fd: int, user: User, depth: int) -> None:
    """Give a tree to another user: the server's settings of users have changed."""
    if depth > MAX_DEPTH:
        raise TooDeepError
    os.fchown(fd, *user)
    with os.scandir(fd) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        os.chown(name, *user, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            inner = os.open(name, FOLDER, dir_fd=fd)
            try:
                _hand_over_tree(inner, user, depth + 1)
            finally:
                os.close(inner)
