"""A new file that appears whole and durable, or not at all, and never replaces another."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fetchml.files.own_file import sync_folder

_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Errors of FAT and some network file systems."""


class PlaceTaken(Exception):
    """Something exists at the path already, or appeared meanwhile. It is unchanged."""


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a private file. Until it is whole its name is PATH.….part, unique to each writer.
    Raises PlaceTaken, OSError."""
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
    """Check the path before long work. Raises PlaceTaken."""
    if os.path.lexists(path):
        raise PlaceTaken(f"{path} already exists")


def _put(draft: Path, path: Path) -> None:
    """Link, not rename: a rename would replace a file that appeared meanwhile. Raises PlaceTaken,
    OSError."""
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
        raise PlaceTaken(f"{path} was created concurrently") from error
