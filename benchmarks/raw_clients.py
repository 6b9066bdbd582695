"""Clients that no library would be: they send half of what they began, and read nothing."""

import select
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from benchmarks.grpc_load import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    header_block,
)

FRAME_BYTES = 16_384
INITIAL_WINDOW_SIZE = 4
"""The setting of HTTP/2."""
PUSH_SECONDS = 2


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)))


def push(client: socket.socket, data: bytes) -> None:
    """Send what the server takes, for as long as it takes it."""
    client.settimeout(PUSH_SECONDS)
    with suppress(OSError):  # It has closed, or takes no more.
        client.sendall(data)


def status_of(client: socket.socket, seconds: float) -> int:
    """The status of an HTTP reply of which no more than its beginning is read; 0 if the server
    closed the connection, or sent nothing within `seconds`."""
    client.settimeout(seconds)
    try:
        line = client.recv(12)
    except OSError:
        return 0
    return int(line[9:12]) if len(line) == 12 else 0


class GrpcConnection:
    """A connection over which calls are begun."""

    def __init__(self, address: str) -> None:
        self._socket = connect(address)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        self._received = bytearray()
        self._windows = {0: FIRST_WINDOW}
        """Bytes that the server is ready to take: of the connection (0) and of each stream."""
        self._initial = FIRST_WINDOW
        self._next = 1
        self.ended: set[int] = set()
        """Streams that the server has ended."""
        self.is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def begin(self, method: str, metadata: Mapping[str, str]) -> int:
        """Returns the call's stream."""
        stream, self._next = self._next, self._next + 2
        self._windows[stream] = self._initial
        self._write(frame(HEADERS, END_HEADERS, stream, header_block(method, dict(metadata))))
        return stream

    def send(self, stream: int, data: bytes, *, last: bool = False) -> int:
        """Send what the server is ready to take now; returns how many bytes that was. `last`: no
        message follows."""
        sent = 0
        while sent < len(data) and stream not in self.ended and not self.is_closed:
            room = min(self._windows[0], self._windows[stream], FRAME_BYTES, len(data) - sent)
            if room <= 0:
                break
            ends = last and sent + room == len(data)
            self._write(frame(DATA, END_STREAM * ends, stream, data[sent : sent + room]))
            self._windows[0] -= room
            self._windows[stream] -= room
            sent += room
        return sent

    def look(self, seconds: float = 0) -> None:
        """Take what the server has sent; wait for it at most so long."""
        while not self.is_closed and select.select([self._socket], [], [], seconds)[0]:
            try:
                data = self._socket.recv(1 << 16)
            except ConnectionError:
                data = b""
            self.is_closed = not data
            self._received += data
            self._parse()
            seconds = 0

    def _parse(self) -> None:
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + size:
                return
            kind, flags, stream = struct.unpack_from(">BBI", self._received, 3)
            self._take(kind, flags, stream, bytes(self._received[9 : 9 + size]))
            del self._received[: 9 + size]

    def _take(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._windows[stream] = self._windows.get(stream, 0) + int.from_bytes(body, "big")
        elif kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", body):
                if name == INITIAL_WINDOW_SIZE:
                    for other in self._windows.keys() - {0}:
                        self._windows[other] += value - self._initial
                    self._initial = value
            self._write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._write(frame(PING, ACK, 0, body))
        elif kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM):
            self.ended.add(stream)

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError:
            self.is_closed = True
