"""Free space on a disk, and how the lack of it is recognized."""

import errno
import os
from pathlib import Path

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def free_bytes(folder: Path) -> int:
    """Return the space that an ordinary user can still fill. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def is_disk_full(error: OSError) -> bool:
    """Return whether an operation failed for lack of disk space."""
    return error.errno in _DISK_FULL
