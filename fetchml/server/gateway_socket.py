"""The socket by which tasks in containers reach the server, whatever their network is."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fetchml.files.layout import GATEWAY, GATEWAY_SOCKET


@contextmanager
def gateway_socket(data_dir: Path) -> Iterator[socket.socket]:
    """Yield the bound socket, in a folder that stays when the server restarts: containers have it
    mounted. Every user may connect who has the folder; on the host only the server's user may enter
    the data directory. Raises OSError."""
    path = data_dir / GATEWAY
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            os.unlink(GATEWAY_SOCKET, dir_fd=folder)
        # Short, whatever the name of the data directory: a socket's path holds 107 bytes.
        bound.bind(f"/proc/self/fd/{folder}/{GATEWAY_SOCKET}")
        os.chmod(GATEWAY_SOCKET, 0o666, dir_fd=folder)  # noqa: S103 - in a private folder
        yield bound
    finally:
        bound.close()
        os.close(folder)
