"""Makes a task's outputs private and durable, and removes what exceeds their limits.

Only the root is closed to others. The files get the modes at once that they need as inputs of
another task (`make_readable`): a later change would look like a change of their content.
No link is followed, nothing blocks, and memory never holds more names than may be kept.
"""

import ctypes
import os
import stat
from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from fetchml.files import untrusted
from fetchml.files.untrusted import FOLDER, MAX_DEPTH, TooDeepError

FEW_FILES = 64
"""Up to this number, files and folders are made durable one by one; more of them by one call for
the whole file system, which costs others more and a task with many files far less."""
ANY_NUMBER = 1 << 62


class OutputLimits(NamedTuple):
    """Limits of the outputs of one attempt."""

    files: int = ANY_NUMBER
    """Files, folders and links."""
    bytes: int = ANY_NUMBER


class OmittedOutputs(NamedTuple):
    """Outputs that exceeded the limits and were removed."""

    files: int = 0
    """Files and links."""
    bytes: int = 0


NO_LIMITS = OutputLimits()
FOLDER_MODE = 0o755
"""Of folders inside of the root."""


def file_mode(mode: int) -> int:
    """Mode of a kept file, which only its owner may write. `mode`: the one that the task set."""
    return 0o755 if mode & stat.S_IXUSR else 0o644


def keep(root: Path, limits: OutputLimits = NO_LIMITS) -> OmittedOutputs:
    """Make a tree private to this process's user, and its content durable.

    Removes setuid bits, everything but folders, regular files and links, and what exceeds the
    limits. Raises OSError, TooDeepError.
    """
    root.chmod(0o700)
    fd = os.open(root, FOLDER)
    try:
        keeping = _Keeping(limits)
        keeping.folder(fd, 0)
        if keeping.seen > FEW_FILES:
            sync_file_system(fd)
    finally:
        os.close(fd)
    return OmittedOutputs(keeping.left_out_files, keeping.left_out_bytes)


class _Keeping:
    """One walk through a tree."""

    def __init__(self, limits: OutputLimits) -> None:
        self.seen = 0
        self.left_out_files = 0
        self.left_out_bytes = 0
        self._files_left = limits.files
        self._bytes_left = limits.bytes

    def folder(self, fd: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TooDeepError
        _own(fd, FOLDER_MODE if depth else 0o700)
        with os.scandir(fd) as entries:
            names = [entry.name for entry in islice(entries, self._files_left)]
            is_whole = next(entries, None) is None
        retained = set[str]()
        for name in sorted(names):
            if self._entry(fd, name, depth):
                retained.add(name)
        if not is_whole:
            self._remove_others(fd, retained)
        if names or not is_whole:
            self._sync(fd)

    def _entry(self, folder: int, name: str, depth: int) -> bool:
        """Keep or remove one entry; return whether it is kept."""
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not self._files_left and not _is_nothing(status):
            self._leave_out(folder, name)
            return False
        if stat.S_ISDIR(status.st_mode):
            self._files_left -= 1
            os.chmod(name, 0o700, dir_fd=folder)
            fd = os.open(name, FOLDER, dir_fd=folder)
            try:
                self.folder(fd, depth + 1)
            finally:
                os.close(fd)
        elif stat.S_ISREG(status.st_mode):
            if status.st_size > self._bytes_left:
                self._leave_out(folder, name)
                return False
            self._files_left -= 1
            self._bytes_left -= status.st_size
            os.chmod(name, 0o600, dir_fd=folder)
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            try:
                _own(fd, file_mode(status.st_mode))
                self._sync(fd)
            finally:
                os.close(fd)
        elif stat.S_ISLNK(status.st_mode):
            self._files_left -= 1
        else:
            os.unlink(name, dir_fd=folder)
            return False
        return True

    def _sync(self, fd: int) -> None:
        self.seen += 1
        if self.seen <= FEW_FILES:
            os.fsync(fd)

    def _remove_others(self, folder: int, names: Collection[str]) -> None:
        """Remove everything in the folder except `names`. A removal may hide another entry from a
        scan, so the folder is scanned until nothing more is found."""
        any_removed = True
        while any_removed:
            any_removed = False
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name not in names:
                        any_removed = True
                        self._leave_out(folder, entry.name)

    def _leave_out(self, folder: int, name: str) -> None:
        removed = untrusted.remove_entry(folder, name)
        self.left_out_files += removed.files
        self.left_out_bytes += removed.bytes


def _is_nothing(status: os.stat_result) -> bool:
    """Return whether it is a FIFO, socket or device: never kept, and not reported."""
    mode = status.st_mode
    return not (stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode))


def _own(fd: int, mode: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.fchown(fd, uid, gid)
    os.fchmod(fd, mode)


def sync_file_system(fd: int) -> None:
    """Make the file system of a descriptor durable. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).syncfs(fd):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def make_readable(outputs: Path) -> None:
    """Make kept outputs readable for the tasks that get them as inputs. No link is followed; an
    output that the task never wrote becomes an empty folder. Raises OSError, TooDeepError.

    Outputs are private to the server, and a container may run as another user. The task's folder
    stays private, so nobody else on the host can reach them. Of outputs that this release has kept,
    only the root changes.
    """
    outputs.mkdir(0o700, parents=True, exist_ok=True)
    mode = outputs.parent.stat().st_mode
    if mode & 0o007:  # Else those whom an access list names stay allowed.
        outputs.parent.chmod(0o700)
    fd = os.open(outputs, FOLDER)
    try:
        _folder(fd, 0)
    finally:
        os.close(fd)


def _folder(fd: int, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise TooDeepError
    with os.scandir(fd) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            inner = os.open(name, FOLDER, dir_fd=fd)
            try:
                _folder(inner, depth + 1)
            finally:
                os.close(inner)
        elif stat.S_ISREG(mode) and not mode & stat.S_IROTH:
            inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
            try:
                os.fchmod(inner, file_mode(mode))
            finally:
                os.close(inner)
    if not os.fstat(fd).st_mode & stat.S_IROTH:
        os.fchmod(fd, FOLDER_MODE)
