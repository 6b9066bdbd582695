"""The kernel's limit on the bytes that a client can send over a new connection.

The library that serves gRPC reads a connection as soon as it has accepted it, and nothing in the
process could stop it in time. So the kernel does. A listening socket passes on to every connection
that it accepts a small receive buffer and a threshold (`SO_RCVLOWAT`) below which the connection
counts as not readable: the library waits. Then the connection gets a socket filter that cuts off
the client's bytes at a position of its TCP stream, and is opened for reading. Bytes that are cut
off are not acknowledged, so the client sends them again: a limit that is lifted loses nothing.
"""

import ctypes
import socket
import struct
from collections.abc import Callable, Sequence

from fetchml.api.grpc.sockets.new_socket import NewSocket

_TCP_WINDOW_CLAMP = 10
_TCP_SAVE_SYN = 27
_TCP_SAVED_SYN = 28
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_SO_BUF_LOCK = 72
_BACKLOG = 24
"""Position of `tcpi_unacked`, for a listening socket the connections that are not accepted yet."""

HELD_BYTES = 1152
"""The receive buffer of a connection until it is opened, the smallest that the kernel allows. A
connection whose buffer is almost full counts as readable, whatever the threshold. So until its
filter is there, it is read in parts of this size, each after a round trip to the client."""


class UnknownStream(Exception):
    """The first number of the client's TCP stream is not known: the kernel saves it unless it
    answers a flood of connection attempts (SYN cookies)."""


def hold_accepted(listening: socket.socket) -> int:
    """Keep each connection that this socket accepts unread until `LimitedConnection.open`. Return
    the size of the receive buffer that such a connection gets then. Raises OSError, with the socket
    as it was, if the kernel lacks what is needed (Linux before 5.14), or lets only
    processes with CAP_NET_ADMIN filter TCP, as newer ones do."""
    # Asked first: without it, a receive buffer that has been made small could not grow again.
    listening.getsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK)
    with socket.socket() as trial:
        _attach(trial, _filter(0, 0))
    size = listening.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # The kernel doubles it.
    listening.setsockopt(socket.IPPROTO_TCP, _TCP_SAVE_SYN, 1)
    _set_receive_buffer(listening, HELD_BYTES)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, HELD_BYTES)
    return size


def unaccepted(listening: socket.socket) -> int:
    """Return how many connections wait to be accepted from this socket. Raises OSError."""
    info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    [waiting] = struct.unpack_from("=I", info, _BACKLOG)
    return int(waiting)


class LimitedConnection(NewSocket):
    """A new connection whose bytes the kernel limits."""

    def __init__(
        self, connection: socket.socket, buffer_bytes: int, released: Callable[[int], None]
    ) -> None:
        """`connection`, `released`: see `NewSocket`. `buffer_bytes`: what `hold_accepted`
        returned."""
        super().__init__(connection, released)
        self._buffer_bytes = buffer_bytes
        self._first: int | None = None
        """Sequence number of the stream's first byte, once it is known."""

    def limit(self, most: int) -> None:
        """Let no byte of the stream pass after the first `most`, in place of an earlier limit.
        Raises OSError, UnknownStream."""
        if self._first is None:
            self._first = _first_number(self._socket)
        _attach(self._socket, _filter(self._first, most))

    def open(self) -> None:
        """Let the connection be read. Raises OSError."""
        _set_receive_buffer(self._socket, self._buffer_bytes)
        # The window would stay small, and the client would have to wait after each small packet.
        self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_WINDOW_CLAMP, self._buffer_bytes)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def lift(self) -> None:
        """Remove the limit. Raises OSError."""
        if self._first is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def _attach(connection: socket.socket, instructions: Sequence[tuple[int, int, int, int]]) -> None:
    program = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    )
    described = struct.pack("@HP", len(instructions), ctypes.addressof(program))
    connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def _set_receive_buffer(connection: socket.socket, size: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    # Without this the size would stay as it is, and an upload slow.
    connection.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)


def _first_number(connection: socket.socket) -> int:
    """Return the sequence number of the first byte, from the packet that began the connection."""
    packet = connection.getsockopt(socket.IPPROTO_TCP, _TCP_SAVED_SYN, 256)
    version = packet[0] >> 4 if packet else 0
    at = {4: (packet[0] & 15) * 4, 6: 40}[version] if version in (4, 6) else len(packet)
    # With extension headers of IPv6, TCP's header begins elsewhere.
    if len(packet) < at + 20 or len(packet) != at + (packet[at + 12] >> 4) * 4:
        raise UnknownStream
    [number] = struct.unpack_from(">I", packet, at + 4)
    return (int(number) + 1) % 2**32


_PASS = 25
_DROP = 26
"""Positions in the filter."""


def _filter(first: int, most: int) -> tuple[tuple[int, int, int, int], ...]:
    """Return the filter as the kernel's classic BPF: code, jump if true, jump if false, operand.
    Its input is a segment from the TCP header on, and it returns how many bytes of it to keep."""
    return (
        (0x20, 0, 0, 4),  # 0: A = sequence number
        (0x14, 0, 0, first),  # A -= first: the position of the segment's first byte
        (0x25, _PASS - 3, 0, 2**31),  # before the first byte: a repeated SYN, a probe
        (0x02, 0, 0, 0),  # M[0] = A
        (0x30, 0, 0, 12),
        (0x54, 0, 0, 0xF0),
        (0x74, 0, 0, 2),
        (0x02, 0, 0, 1),  # M[1] = size of the header
        (0x07, 0, 0, 0),  # X = A
        (0x80, 0, 0, 0),  # A = size of the segment
        (0x1C, 0, 0, 0),  # 10: A -= X
        (0x61, 0, 0, 0),  # X = M[0]
        (0x0C, 0, 0, 0),  # A += X: the position after its last byte
        (0x25, 0, _PASS - 14, most),
        (0x30, 0, 0, 13),
        (0x45, _DROP - 16, 0, 1),  # FIN comes after the last byte, so without it, it must wait
        (0x60, 0, 0, 0),  # A = M[0]
        (0x25, 0, 1, most),
        (0x00, 0, 0, most),
        (0x14, 0, 0, most),  # A -= most
        (0x84, 0, 0, 0),  # 20: A = -A: the bytes before the limit
        (0x61, 0, 0, 1),  # X = M[1]
        (0x0C, 0, 0, 0),  # A += X
        (0x16, 0, 0, 0),  # keep A bytes
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 2**32 - 1),  # 25: keep all
        (0x06, 0, 0, 0),  # 26: drop
    )
