"""The process's own TCP connections, found among its open files since gRPC does not expose them."""

import os
import socket
import stat
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress

_FILES = "/proc/self/fd"
_BYTES_RECEIVED = 128
"""Position of `tcpi_bytes_received` in the kernel's `tcp_info`."""


class OwnConnections:
    """The connections to one of the process's own ports. Known sockets are recognized by inode, so
    that inspecting thousands of them takes milliseconds."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._known: dict[int, str | None] = {}
        """Inode of each socket → its peer; `None` if it is not a connection to the port."""

    def peers(self) -> list[str]:
        """Return their peers as gRPC names them, the oldest known first."""
        found = dict(self._look())
        kept = {inode: peer for inode, peer in self._known.items() if inode in found}
        self._known = kept | found
        return self.known

    @property
    def known(self) -> list[str]:
        """The same as at the last look."""
        return [peer for peer in self._known.values() if peer is not None]

    def received(self, peers: Collection[str]) -> dict[str, int]:
        """Return the bytes that each of these peers has sent over its connection so far. `peers`:
        of the last look; those that have disconnected since are left out."""
        inodes = {inode: peer for inode, peer in self._known.items() if peer in peers}
        received: dict[str, int] = {}
        for number in _open_files():
            with suppress(OSError):  # Closed in the meantime.
                if os.fstat(number).st_ino not in inodes:
                    continue
                connection = _socket(number)
                if connection is None:
                    continue
                with connection:
                    peer = inodes.get(os.fstat(connection.fileno()).st_ino)
                    if peer is not None:
                        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                        [received[peer]] = struct.unpack_from("=Q", info, _BYTES_RECEIVED)
        return received

    def _look(self) -> Iterator[tuple[int, str | None]]:
        for number in _open_files():
            with suppress(OSError):  # Closed in the meantime.
                status = os.fstat(number)
                if not stat.S_ISSOCK(status.st_mode):
                    continue
                if status.st_ino in self._known:
                    yield status.st_ino, self._known[status.st_ino]
                elif (connection := _socket(number)) is not None:
                    with connection:
                        # Stat the copied socket: the number may name another file by now.
                        inode = os.fstat(connection.fileno()).st_ino
                        to_port = connection.getsockname()[1] == self._port
                        yield inode, _peer(connection) if to_port else None
                else:
                    yield status.st_ino, None


def close_connections(peers: Collection[str]) -> None:
    """Close this process's connections to these peers. `peers`: as gRPC names them."""
    for number in _open_files():
        with suppress(OSError):  # Closed in the meantime, possibly by the client.
            connection = _socket(number)
            if connection is None:
                continue
            with connection:
                if _peer(connection) in peers:
                    connection.shutdown(socket.SHUT_RDWR)


def _open_files() -> list[int]:
    with os.scandir(_FILES) as files:
        return [int(file.name) for file in files]


def _socket(number: int) -> socket.socket | None:
    """Return a copy of an open file that is an IP socket; `None` if it is not. Raises OSError.

    The copy is needed because the number may name another file by the time it is inspected.
    """
    copy = os.dup(number)
    try:
        found = socket.socket(fileno=copy)
    except OSError:  # Not a socket.
        os.close(copy)
        return None
    if found.family in (socket.AF_INET, socket.AF_INET6):
        return found
    found.close()
    return None


def _peer(connection: socket.socket) -> str | None:
    """Return the socket's peer as gRPC names it; `None` if it listens or has disconnected."""
    try:
        host, port, *_ = connection.getpeername()
    except OSError:
        return None
    if host.startswith("::ffff:"):
        return f"ipv4:{host.removeprefix('::ffff:')}:{port}"
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
