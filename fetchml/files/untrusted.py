"""Reads and removes files that an untrusted task may have created.

No link is followed and nothing blocks. Stack and descriptors are bounded at any depth: a task can
nest folders far beyond the maximum length of a path.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

MAX_DEPTH = 100
MOST_ENTRIES = 200_000
"""Names of a folder that are read."""
MOST_LISTED = 100_000
"""Files and folders of a tree that are listed: their names are in memory, up to 255 bytes each."""
_NAMES_AT_ONCE = 10_000
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Removed(NamedTuple):
    files: int
    """Everything but folders."""
    bytes: int


class TooDeepError(Exception):
    def __init__(self) -> None:
        super().__init__(f"folders are nested more than {MAX_DEPTH} deep")


def read_regular(folder: int, name: str, offset: int, limit: int) -> bytes:
    """Return at most `limit` bytes of a regular file. Raises OSError for anything else."""
    fd = _open(folder, name)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{name} is not a regular file")
        return os.pread(fd, limit, offset)
    finally:
        os.close(fd)


def _open(folder: int, name: str) -> int:
    try:
        return os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=folder
        )
    except OSError as error:
        if error.errno == errno.ENXIO:  # A socket, which is no fault of the disk.
            raise OSError(f"{name} is not a regular file") from error
        raise


def identity(path: Path) -> tuple[int, int]:
    """Return the device and the inode of a folder. Raises OSError if it is none, or if a part of
    its absolute path is a link."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open("/", flags)
    try:
        for part in path.parts[1:]:
            inner = os.open(part, flags, dir_fd=fd)
            os.close(fd)
            fd = inner
        status = os.fstat(fd)
    finally:
        os.close(fd)
    return status.st_dev, status.st_ino


def first_names(path: Path, most: int) -> frozenset[str]:
    """Return the names of the first entries of a folder, at most `most`.

    Network disks cache the absence of a file, but not a listing, so this shows what other machines
    have written. Raises OSError.
    """
    fd = os.open(path, FOLDER)
    try:
        with os.scandir(fd) as entries:
            return frozenset(entry.name for entry in islice(entries, most))
    finally:
        os.close(fd)


def open_regular(root: Path, path: str) -> BinaryIO:
    """Open a regular file below a folder, `path` with `/` between its parts. Raises OSError for
    anything else, and for a path that leaves the folder."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise FileNotFoundError(path)
    fd = os.open(root, FOLDER)
    for part in parts:
        try:
            inner = _open(fd, part)
        finally:
            os.close(fd)
        fd = inner
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(path)
    return os.fdopen(fd, "rb")


def regular_files(root: Path, most: int | None = None) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the path below a folder and the status of each regular file, by name, those of a folder
    before those of its folders. Raises OSError if the folder can't be opened.

    A task may change the folder meanwhile: files that vanish are omitted. So are those nested
    deeper than MAX_DEPTH, and what comes after `most` files and folders, MOST_LISTED if `None`.
    """
    fd = os.open(root, FOLDER)
    try:
        yield from _regular_files(fd, "", iter(range(MOST_LISTED if most is None else most)), 0)
    finally:
        os.close(fd)


def _regular_files(
    folder: int, inside: str, left: Iterator[int], depth: int
) -> Iterator[tuple[str, os.stat_result]]:
    folders: list[str] = []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for _, entry in zip(left, entries, strict=False))
    for name in names:
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield f"{inside}{name}", status
        elif stat.S_ISDIR(status.st_mode) and depth < MAX_DEPTH:
            folders.append(name)
    for name in folders:
        try:
            inner = os.open(name, FOLDER, dir_fd=folder)
        except OSError:
            continue
        try:
            yield from _regular_files(inner, f"{inside}{name}/", left, depth + 1)
        finally:
            os.close(inner)


def remove(root: Path) -> None:
    """Remove a tree or any other file, if it exists. Raises OSError."""
    with suppress(OSError):  # An empty folder, which most are, takes one system call.
        os.rmdir(root)  # noqa: PTH106 - it is that system call
        return
    if not os.path.lexists(root):
        return
    fd = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        remove_entry(fd, root.name)
    except FileNotFoundError:
        return
    finally:
        os.close(fd)


def remove_entry(folder: int, name: str) -> Removed:
    """Remove a tree or any other file in an open folder. Raises OSError."""
    if not _is_folder(folder, name):
        return _unlink(folder, name)
    root = _take(folder, name)
    files = size = 0
    try:
        names = count()
        while entries := _names(root):
            for entry in entries:
                if _is_folder(root, entry):
                    inner = _flatten(root, entry, names)
                else:
                    inner = _unlink(root, entry)
                files += inner.files
                size += inner.bytes
    finally:
        os.close(root)
    os.rmdir(name, dir_fd=folder)
    return Removed(files, size)


def _flatten(root: int, name: str, names: "count[int]") -> Removed:
    """Remove the folder `name` of `root`, after moving its own folders up into `root`."""
    folder = _take(root, name)
    files = size = 0
    try:
        while children := _names(folder):
            for child in children:
                if not _is_folder(folder, child):
                    inner = _unlink(folder, child)
                    files += inner.files
                    size += inner.bytes
                    continue
                # Moving a folder rewrites its `..`, for which its owner needs write permission.
                os.close(_take(folder, child))
                os.rename(child, _free_name(root, names), src_dir_fd=folder, dst_dir_fd=root)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=root)
    return Removed(files, size)


def _take(folder: int, name: str) -> int:
    """Open a folder that is about to be removed, closed to others from then on: its owner may have
    processes that the server does not see, on a cluster for example. No link is followed. Raises
    OSError."""
    try:
        fd = os.open(name, FOLDER, dir_fd=folder)
    except PermissionError:
        # With O_PATH, opening a folder needs no permission, and its mode can be changed.
        folder_fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            os.chmod(f"/proc/self/fd/{folder_fd}", 0o700)  # noqa: PTH101 - a descriptor
            fd = os.open(".", FOLDER, dir_fd=folder_fd)
        finally:
            os.close(folder_fd)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            with suppress(PermissionError):  # A server without capabilities can't.
                os.fchown(fd, os.geteuid(), -1)
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.fchmod(fd, 0o700)
    except OSError:
        os.close(fd)
        raise
    return fd


def _unlink(folder: int, name: str) -> Removed:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    os.unlink(name, dir_fd=folder)
    return Removed(1, status.st_size if stat.S_ISREG(status.st_mode) else 0)


def _free_name(root: int, names: "count[int]") -> str:
    for number in names:
        name = f".removing-{number}"
        try:
            os.stat(name, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            return name
    raise AssertionError("unreachable: the numbers never end")


def _names(folder: int) -> list[str]:
    """Return the first names: a task can create more than fit in memory."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, _NAMES_AT_ONCE)]


def _is_folder(folder: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
