"""The control socket: how the owner of a data directory reaches its server without a key."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

NAME = "control.sock"


@contextlib.contextmanager
def control_socket(data_dir: Path) -> Iterator[Path]:
    """A path of the socket that is valid in this process while inside.

    A socket's path holds at most 107 bytes. This one goes through a file descriptor, so it is
    short whatever the name of the data directory. Raises OSError.
    """
    folder = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{folder}/{NAME}")
    finally:
        os.close(folder)
