"""A file that appears in its place whole and on disk, or not at all, and never over another."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fetchml.files.own_file import sync_folder

_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Of FAT, and of some that come over a network."""


class PlaceTaken(Exception):
    """Something is there already, or came meanwhile. It is as it was."""


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """For its owner alone. Until it is whole it is PATH.….part, one for each who writes. Raises
    PlaceTaken, OSError."""
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
    """Before long work. Raises PlaceTaken."""
    if os.path.lexists(path):
        raise PlaceTaken(f"{path} exists already")


def _put(draft: Path, path: Path) -> None:
    """A rename would replace what came meanwhile; a link doesn't. Raises PlaceTaken, OSError."""
    try:
        try:
            path.hardlink_to(draft)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # Whoever makes the empty file has the place.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            draft.rename(path)
    except FileExistsError as error:
        raise PlaceTaken(f"{path} exists already: it came while this one was written") from error
