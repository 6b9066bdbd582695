"""The process's own TCP connections, found among its open files since gRPC does not expose them."""

import errno
import os
import socket
import stat
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

_FILES = "/proc/self/fd"


class NewConnection(NamedTuple):
    """A connection that was not known before."""

    peer: str
    """As gRPC names it."""
    socket: socket.socket
    """A copy, which its receiver closes."""


class OwnConnections:
    """The connections to one of the process's own ports. Known sockets are recognized by inode, so
    that inspecting thousands of them takes milliseconds."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._known: dict[int, str | None] = {}
        """Inode of each socket → its peer; `None` if it is not a connection to the port."""
        self.has_missed = False
        """Whether the last look could not copy a file: the process may not open more."""

    def look(self) -> list[NewConnection]:
        """Return the connections since the last look. Raises OSError."""
        self.has_missed = False
        found: dict[int, str | None] = {}
        new: list[NewConnection] = []
        for number in _open_files():
            try:
                status = os.fstat(number)
                if not stat.S_ISSOCK(status.st_mode):
                    continue
                if status.st_ino in self._known:
                    found[status.st_ino] = self._known[status.st_ino]
                elif status.st_ino not in found:
                    found.update(self._new(number, new))
            except OSError as error:  # Closed in the meantime.
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self.has_missed = True
        kept = {inode: peer for inode, peer in self._known.items() if inode in found}
        self._known = kept | found
        return new

    @property
    def peers(self) -> list[str]:
        """Their peers at the last look, as gRPC names them, the oldest known first."""
        return [peer for peer in self._known.values() if peer is not None]

    def _new(self, number: int, new: list[NewConnection]) -> dict[int, str | None]:
        """Return the inode and the peer of an open file, and add it to `new` if it is a connection
        to the port. Raises OSError."""
        connection = _socket(number)
        if connection is None:
            return {os.fstat(number).st_ino: None}
        # Stat the copied socket: the number may name another file by now.
        inode = os.fstat(connection.fileno()).st_ino
        to_port = connection.getsockname()[1] == self._port
        peer = _peer(connection) if to_port else None
        if peer is None:
            connection.close()
        else:
            new.append(NewConnection(peer, connection))
        return {inode: peer}


def listening_sockets(port: int) -> list[socket.socket]:
    """Return copies of the process's sockets that listen on this port."""
    found: dict[int, socket.socket] = {}
    for number in _open_files():
        with suppress(OSError):  # Closed in the meantime.
            listening = _socket(number)
            if listening is None:
                continue
            inode = os.fstat(listening.fileno()).st_ino
            if inode not in found and _listens(listening, port):
                found[inode] = listening
            else:
                listening.close()
    return list(found.values())


def _listens(connection: socket.socket, port: int) -> bool:
    listens = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(listens) and connection.getsockname()[1] == port


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
        host, port, *more = connection.getpeername()
    except OSError:
        return None
    if more and (scope := more[1]):  # Of an address of one link only.
        host += f"%25{scope}"
    if host.startswith("::ffff:"):
        return f"ipv4:{host.removeprefix('::ffff:')}:{port}"
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
