"""The free space of a disk, and the size of a tree."""

import errno
import os
import stat
import time
from pathlib import Path

from fetchml.core.storage import BLOCK_BYTES, NOTHING, Used

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def free_bytes(folder: Path) -> int:
    """Return the space that an ordinary user can still fill. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def is_disk_full(error: OSError) -> bool:
    """Return whether an operation failed for lack of disk space."""
    return error.errno in _DISK_FULL


MAX_DEPTH = 100
MOST_ENTRIES = 1_000_000
"""Default maximum of files and folders that are counted."""
PAUSE_EVERY = 500
PAUSE_SECONDS = 0.002
"""Pause for the event loop, which shares the interpreter with the measuring thread."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Count:
    def __init__(self, most: int, *, pause: bool) -> None:
        self.used = NOTHING
        self.left = most
        self._pause = pause

    def add(self, status: os.stat_result) -> None:
        # Blocks, not length: a sparse file takes little. Each name of a file counts.
        self.used = self.used.plus(Used(status.st_blocks * 512 + BLOCK_BYTES, 1))
        self.left -= 1
        if self._pause and self.left % PAUSE_EVERY == 0:
            time.sleep(PAUSE_SECONDS)


def measure(root: Path, most_entries: int = MOST_ENTRIES, *, pause: bool = False) -> Used:
    """Return the disk usage below a folder. Missing or unreadable entries count as nothing.

    Blocks. `pause`: yield to other threads regularly.
    """
    count = _Count(most_entries, pause=pause)
    try:
        fd = os.open(root, _FOLDER)
    except OSError:
        return NOTHING
    try:
        _measure(fd, count, 0)
    finally:
        os.close(fd)
    return count.used


def _measure(folder: int, count: _Count, depth: int) -> None:
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if count.left <= 0:
                    return
                try:
                    status = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                except OSError:
                    continue
                count.add(status)
                if stat.S_ISDIR(status.st_mode) and depth < MAX_DEPTH:
                    folders.append(entry.name)
    except OSError:
        return
    for name in folders:
        if count.left <= 0:
            return
        try:
            inner = os.open(name, _FOLDER, dir_fd=folder)
        except OSError:
            continue
        try:
            _measure(inner, count, depth + 1)
        finally:
            os.close(inner)
