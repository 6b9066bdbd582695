"""Connections to sockets on which tasks listen, in folders that they may fill with anything.

The name in the folder is looked up once and no link is followed; whatever takes the name's place
later is never connected to.
"""

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CONNECT_TRIES = 20
_CONNECT_PAUSE_SECONDS = 0.05
"""Between tries while the listener's backlog is full."""


def pin_socket(folder: Path, name: str) -> int:
    """Return a descriptor (O_PATH) of the socket. Raises OSError if there is no socket (yet), or
    another kind of file in its place."""
    with _opened(folder) as directory:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{name} is not a socket")
    return fd


async def connect(path: str) -> socket.socket:
    """Open a connection. Raises OSError."""
    for _ in range(_CONNECT_TRIES):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(path)
        except BlockingIOError:
            connection.close()
            await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
        except OSError:
            connection.close()
            raise
        else:
            return connection
    raise TimeoutError("it accepts no connection")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
