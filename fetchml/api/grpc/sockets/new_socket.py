"""A connection that gRPC has accepted, held by a copy of its socket."""

import ctypes
import socket
import struct
from collections.abc import Callable

_C = ctypes.PyDLL(None)
_BYTES_RECEIVED = 128
"""Position of `tcpi_bytes_received` in the kernel's `tcp_info`."""


class NewSocket:
    """A copy of the socket of a new connection. The connection lasts until the copy is closed as
    well."""

    def __init__(self, connection: socket.socket, released: Callable[[int], None]) -> None:
        """`released` is called with the number of the copy's open file before it is closed."""
        self._socket = connection
        self._released = released

    def received(self) -> int:
        """Return the bytes of the stream so far. Raises OSError."""
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        [received] = struct.unpack_from("=Q", info, _BYTES_RECEIVED)
        return int(received)

    def shut_down(self) -> None:
        """End the connection for the library as well. Raises OSError."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def shut_down_at_once(self) -> None:
        """The same without letting another thread of Python run in the meantime, which could take
        half a second. Does nothing if the client has disconnected."""
        _C.shutdown(self._socket.fileno(), socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the copy."""
        self._released(self._socket.fileno())
        self._socket.close()
