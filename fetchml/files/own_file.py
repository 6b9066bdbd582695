"""Files that the server keeps for itself, read and written without following links."""

import contextlib
import ctypes
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

KEY_BYTES = 32

_libc = ctypes.CDLL(None, use_errno=True)


def open_own(path: Path, flags: int) -> int:
    """Return a descriptor of one of the server's own files.

    The server creates no other kinds of files there, and a link could make it write anywhere.
    Raises OSError.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _not_own(path) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _not_own(path)
    return fd


def read_own(path: Path, limit: int) -> bytes:
    """Return at most `limit` bytes of one of the server's own files. Raises OSError."""
    fd = open_own(path, os.O_RDONLY)
    try:
        return os.pread(fd, limit, 0)
    finally:
        os.close(fd)


def require_own_file(path: Path) -> None:
    """Require a regular file or nothing at a path that a library is about to open. Raises
    OSError."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise _not_own(path)


def write_durably(path: Path, content: bytes, *, sync_name: bool = True) -> None:
    """Replace a whole file atomically; it is on the disk on return. Raises OSError.

    `sync_name`: false if the name may get there with the next file of the same folder.
    """
    temporary = path.with_name(path.name + ".new")
    fd = open_own(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)
    if sync_name:
        sync_folder(path.parent)


def write_at_once(path: Path, content: bytes, *, synced: bool = True) -> None:
    """Write a file, in as few system calls as possible. `synced`: whether it is on the disk on
    return, and its name with it on file systems that keep a journal. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags | os.O_SYNC if synced else flags, 0o600)
    try:
        if os.write(fd, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make sure that a file of an attempt's folder is on the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable after one was created, renamed or removed. Raises
    OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(folder: Path) -> None:
    """Sync the folder's file system: one wait instead of one for each of many files. Raises
    OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)


def _not_own(path: Path) -> OSError:
    return OSError(
        errno.ELOOP,
        "it is a link or no regular file, which the server never makes: move it away",
        str(path),
    )


def load_key(path: Path) -> bytes:
    """Return a key that the server derives secrets from, made if it is missing or unusable. Call it
    with the data directory locked.

    Raises OSError.
    """
    try:
        key = read_own(path, KEY_BYTES + 1)
    except FileNotFoundError:
        key = b""
    if len(key) != KEY_BYTES:
        key = secrets.token_bytes(KEY_BYTES)
        write_durably(path, key)
    return key


_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Errors of FAT and some network file systems."""


class AlreadyExists(Exception):
    """Something exists at the path already, or appeared meanwhile. It is unchanged."""


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a private file. Until it is whole its name is PATH.….part, unique to each writer.
    Raises AlreadyExists, OSError."""
    require_free(path)
    fd, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _put(draft, path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def require_free(path: Path) -> None:
    """Check the path before long work. Raises AlreadyExists."""
    if os.path.lexists(path):
        raise AlreadyExists(f"{path} already exists")


def _put(draft: Path, path: Path) -> None:
    """Link, not rename: a rename would replace a file that appeared meanwhile. Raises
    AlreadyExists, OSError."""
    try:
        try:
            path.hardlink_to(draft)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # Whoever creates the empty file owns the path.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            draft.rename(path)
    except FileExistsError as error:
        raise AlreadyExists(f"{path} was created concurrently") from error
