"""Root's privileges, dropped while it works in another user's data directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner(data_dir: Path) -> Iterator[None]:
    """Run as the owner of the data directory if this process is root's, in all its threads.

    A file that root creates there could not be opened by the owner's server. Raises OSError.
    """
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
