"""Root at work in a data directory that is another user's, as the service's is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner(data_dir: Path) -> Iterator[None]:
    """Root is the data directory's owner inside: a file of root's in it would be one that its
    server can't open. Others stay who they are. All threads change. Raises OSError."""
    found = data_dir.stat()
    if os.geteuid() != 0 or found.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(found.st_gid)
    try:
        os.seteuid(found.st_uid)
        try:
            yield
        finally:
            os.seteuid(0)
    finally:
        os.setegid(group)
