"""The control socket: how the owner of a data directory reaches its server without a key."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fetchml.files.layout import CONTROL_ADDRESS, CONTROL_SOCKET

_LONGEST_ADDRESS = 512


def write_address(data_dir: Path, address: str) -> None:
    """Write the server's gRPC address, HOST:PORT, for `read_address`. Raises OSError."""
    folder = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        draft = f"{CONTROL_ADDRESS}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(draft, flags, 0o600, dir_fd=folder), "w") as file:  # noqa: PTH123
            file.write(address)
        os.replace(draft, CONTROL_ADDRESS, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


def read_address(data_dir: Path) -> str | None:
    """The gRPC address of the server that runs, or ran last, on this data directory. `None` if
    none is known. Raises OSError."""
    try:
        fd = os.open(
            data_dir / CONTROL_ADDRESS, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        )
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor, which no link can lead elsewhere
        return file.read(_LONGEST_ADDRESS).decode(errors="replace").strip() or None


@contextlib.contextmanager
def control_socket(data_dir: Path) -> Iterator[Path]:
    """A path of the socket that is valid in this process while inside.

    A socket's path holds at most 107 bytes. This one goes through a file descriptor, so it is
    short whatever the name of the data directory. Raises OSError, also for a link in its place.
    """
    folder = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(CONTROL_SOCKET, dir_fd=folder, follow_symlinks=False).st_mode):
                raise OSError(
                    errno.ELOOP, "it is a link, which FetchML never makes", CONTROL_SOCKET
                )
        yield Path(f"/proc/self/fd/{folder}/{CONTROL_SOCKET}")
    finally:
        os.close(folder)
