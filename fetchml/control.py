"""The control socket: how the owner of a data directory reaches its server without a key."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

NAME = "control.sock"


@contextlib.contextmanager
def control_socket(data_dir: Path) -> Iterator[Path]:
    """A path of the socket that is valid in this process while inside.

    A socket's path holds at most 107 bytes. This one goes through a file descriptor, so it is
    short whatever the name of the data directory. Raises OSError, also for a link in its place.
    """
    folder = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(NAME, dir_fd=folder, follow_symlinks=False).st_mode):
                raise OSError(errno.ELOOP, "it is a link, which FetchML never makes", NAME)
        yield Path(f"/proc/self/fd/{folder}/{NAME}")
    finally:
        os.close(folder)
