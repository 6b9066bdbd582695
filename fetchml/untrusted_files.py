"""Files that an untrusted task may have made: read, made private, removed.

No link is followed, nothing blocks. Depth costs neither stack nor descriptors without bound: a
task can nest folders far beyond the limit of a path's length.
"""

import os
import stat
from itertools import count
from pathlib import Path

_MAX_DEPTH = 100
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class TooDeepError(Exception):
    def __init__(self) -> None:
        super().__init__(f"folders are nested more than {_MAX_DEPTH} deep")


def read_regular(folder: int, name: str, offset: int, limit: int) -> bytes:
    """At most `limit` bytes of a regular file. Raises OSError for anything else."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{name} is not a regular file")
        return os.pread(fd, limit, offset)
    finally:
        os.close(fd)


def make_private(root: Path) -> None:
    """Give a tree to this process's user alone and make its content durable.

    Drops setuid bits, and what is no folder, regular file or link. Raises OSError, TooDeepError.
    """
    root.chmod(0o700)
    fd = os.open(root, _FOLDER)
    try:
        _make_private(fd, 0)
    finally:
        os.close(fd)


def remove(root: Path) -> None:
    """Remove a tree, or whatever is there; nothing there is fine. Raises OSError."""
    try:
        if not stat.S_ISDIR(root.lstat().st_mode):
            root.unlink()
            return
    except FileNotFoundError:
        return
    root.chmod(0o700)
    fd = os.open(root, _FOLDER)
    try:
        names = count()
        while entries := _names(fd):
            for name in entries:
                if _is_folder(fd, name):
                    _flatten(fd, name, names)
                else:
                    os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
    root.rmdir()


def sync_folder(folder: Path) -> None:
    """Make names that appeared in or left a folder durable."""
    fd = os.open(folder, _FOLDER)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _make_private(folder: int, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise TooDeepError
    _own(folder, 0o700)
    entries = _names(folder)
    for name in entries:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            os.chmod(name, 0o700, dir_fd=folder)
            fd = os.open(name, _FOLDER, dir_fd=folder)
            try:
                _make_private(fd, depth + 1)
            finally:
                os.close(fd)
        elif stat.S_ISREG(mode):
            os.chmod(name, 0o600, dir_fd=folder)
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            try:
                _own(fd, 0o600 | mode & stat.S_IXUSR)
                os.fsync(fd)
            finally:
                os.close(fd)
        elif not stat.S_ISLNK(mode):
            os.unlink(name, dir_fd=folder)
    if entries:
        os.fsync(folder)


def _own(fd: int, mode: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.fchown(fd, uid, gid)
    os.fchmod(fd, mode)


def _flatten(root: int, name: str, names: "count[int]") -> None:
    """Empty the folder `name` of `root`, moving its own folders up into `root`; remove it."""
    os.chmod(name, 0o700, dir_fd=root)
    folder = os.open(name, _FOLDER, dir_fd=root)
    try:
        for child in _names(folder):
            if not _is_folder(folder, child):
                os.unlink(child, dir_fd=folder)
                continue
            # A folder that moves has its `..` written, so its owner needs the right to write it.
            os.chmod(child, 0o700, dir_fd=folder)
            os.rename(child, _free_name(root, names), src_dir_fd=folder, dst_dir_fd=root)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=root)


def _free_name(root: int, names: "count[int]") -> str:
    for number in names:
        name = f".removing-{number}"
        try:
            os.stat(name, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            return name
    raise AssertionError("unreachable: the numbers never end")


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _is_folder(folder: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
