"""Lets the account of a user reach the files of their attempt, and no others.

The folders above them belong to the server. Access lists (POSIX ACLs) let an account pass through
those of its own tasks: they name the account, so that no group has to be trusted. What the job
writes belongs to the account itself.
"""

import errno
import os
import struct
from pathlib import Path

from fetchml.files.layout import ARRAYS, SHIM
from fetchml.ports.launcher import LaunchSpec

_NAME = "system.posix_acl_access"
_VERSION = 2
_HEADER, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_OWNER, _USER, _GROUP, _NAMED_GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
"""The id in entries that name none."""
_ABSENT = (errno.ENODATA, errno.EOPNOTSUPP)
READ, PASS = 4, 1
"""Permissions: to list a folder or read a file, and to enter a folder."""

Entry = tuple[int, int, int]
"""Tag, permissions, id."""


def open_top(shared_dir: Path) -> None:
    """Let everybody pass through the shared folder, who still can't list it, and execute the shims.
    Raises OSError."""
    let_all_pass(shared_dir)
    (shared_dir / ARRAYS).chmod(0o700)
    shims = shared_dir / SHIM
    for path in (shims, *shims.iterdir()):
        path.chmod(0o755)


def admit(run: LaunchSpec, shared_dir: Path, uid: int) -> None:
    """Let an account enter the attempt's folder, and read what the attempt gets from the shared
    folder. May be repeated. Raises OSError."""
    _pass(shared_dir, run.folder, uid)
    _allow(run.folder, uid, PASS)
    sources = [mount.source for mount in (*run.datasets, *run.inputs)]
    for source in (*sources, *(folder.source for folder in run.named_folders)):
        if source.is_relative_to(shared_dir):
            _pass(shared_dir, source, uid)
    for source in sources:
        if source.is_relative_to(shared_dir) and source.stat().st_uid == os.geteuid():
            _allow(source, uid, READ | PASS if source.is_dir() else READ)


def are_supported(folder: Path) -> bool:
    """Return whether the folder's file system has access lists. Raises OSError."""
    try:
        os.setxattr(folder, _NAME, _encode(_entries_of(folder.stat().st_mode)))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return False
        raise
    return True


def _pass(shared_dir: Path, path: Path, uid: int) -> None:
    """Let an account pass through the folders above a path, and everybody through the first: an
    access list has no room for all accounts of a cluster."""
    for parent in reversed(path.relative_to(shared_dir).parents):
        if len(parent.parts) == 1:
            let_all_pass(shared_dir / parent)
        elif parent.parts:
            _allow(shared_dir / parent, uid, PASS)


def let_all_pass(folder: Path) -> None:
    """Let everybody pass through a folder, who still can't list it. Raises OSError."""
    mode = folder.stat().st_mode & 0o7777
    if not mode & PASS:
        folder.chmod(mode | PASS)


def _allow(path: Path, uid: int, permissions: int) -> None:
    """Give an account permissions for one of the server's files, without following a link."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags)
    try:
        if os.fstat(fd).st_mode & permissions == permissions:
            return
        entries = _read(fd)
        wanted = [each for each in entries if each[0] == _USER and each[2] == uid]
        if wanted and wanted[0][1] & permissions == permissions and _mask(entries) & permissions:
            return
        kept = [each for each in entries if each not in wanted and each[0] != _MASK]
        had = wanted[0][1] if wanted else 0
        kept.append((_USER, had | permissions, uid))
        mask = 0
        for tag, allowed, _ in kept:
            if tag in (_USER, _GROUP, _NAMED_GROUP):
                mask |= allowed
        kept.append((_MASK, mask, _NOBODY))
        os.setxattr(fd, _NAME, _encode(kept))
    finally:
        os.close(fd)


def _read(fd: int) -> list[Entry]:
    try:
        data = os.getxattr(fd, _NAME)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return _entries_of(os.fstat(fd).st_mode)
    return list(_ENTRY.iter_unpack(data[_HEADER.size :]))


def _entries_of(mode: int) -> list[Entry]:
    """Return the list that a file without one has by its mode."""
    return [
        (_OWNER, mode >> 6 & 7, _NOBODY),
        (_GROUP, mode >> 3 & 7, _NOBODY),
        (_OTHERS, mode & 7, _NOBODY),
    ]


def _mask(entries: list[Entry]) -> int:
    return next((allowed for tag, allowed, _ in entries if tag == _MASK), 0)


def _encode(entries: list[Entry]) -> bytes:
    """Return the list as the kernel takes it: by tag, and by id."""
    ordered = sorted(entries, key=lambda entry: (entry[0], entry[2]))
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in ordered)
