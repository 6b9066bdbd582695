"""A gRPC client of raw HTTP/2 frames: it begins messages without ending them, and reads nothing."""

import select
import socket
import struct
import time
from types import TracebackType
from typing import Self

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4
DEFAULT_WINDOW = 65_535
FRAME_BYTES = 16_384


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return (
        struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body
    )


def _text(value: bytes) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value


def headers(pairs: "list[tuple[bytes, bytes]]") -> bytes:
    """Each as a literal that enters no table."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in pairs)


class Connection:
    def __init__(self, address: str, settings: bytes = b"", source: str = "127.0.0.1") -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), source_address=(source, 0))
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings))
        self._received = bytearray()
        self._windows = {0: DEFAULT_WINDOW}
        self._initial = DEFAULT_WINDOW
        self._next = 1
        self.ended: set[int] = set()
        """Streams that the server has ended."""
        self.is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def call(self, method: str, key: str | None, *more: tuple[bytes, bytes]) -> int:
        """Begin a call; returns its stream."""
        stream, self._next = self._next, self._next + 2
        pairs = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", f"/{method}".encode()),
            (b":authority", b"x"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            *more,
        ]
        if key is not None:
            pairs.append((b"x-api-key", key.encode()))
        self.send_raw(frame(HEADERS, END_HEADERS, stream, headers(pairs)))
        self._windows[stream] = self._initial
        return stream

    def send(self, stream: int, data: bytes, *, last: bool = False) -> int:
        """As much as the server takes now; returns how much that is."""
        sent = 0
        while (sent < len(data) or last) and stream not in self.ended and not self.is_closed:
            room = min(self._windows[0], self._windows[stream], FRAME_BYTES, len(data) - sent)
            if room <= 0 and sent < len(data):
                break
            ends = last and sent + room == len(data)
            self.send_raw(frame(DATA, END_STREAM * ends, stream, data[sent : sent + room]))
            self._windows[0] -= room
            self._windows[stream] -= room
            sent += room
            if ends:
                break
        return sent

    def look(self, seconds: float = 0) -> None:
        """Read what the server sends, at least for so long."""
        until = time.monotonic() + seconds
        while not self.is_closed:
            left = max(0, until - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return
            try:
                data = self._socket.recv(1 << 16)
            except ConnectionError:
                data = b""
            self.is_closed = not data
            self._received += data
            self._parse()

    def _parse(self) -> None:
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + size:
                return
            kind, flags = self._received[3], self._received[4]
            stream = int.from_bytes(self._received[5:9], "big") & 0x7FFFFFFF
            body = bytes(self._received[9 : 9 + size])
            del self._received[: 9 + size]
            self._take(kind, flags, stream, body)

    def _take(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._windows[stream] = self._windows.get(stream, 0) + int.from_bytes(body, "big")
        elif kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", body):
                if name == INITIAL_WINDOW_SIZE:
                    for other in self._windows.keys() - {0}:
                        self._windows[other] += value - self._initial
                    self._initial = value
            self.send_raw(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send_raw(frame(PING, ACK, 0, body))
        elif kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM):
            self.ended.add(stream)

    def send_raw(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError:
            self.is_closed = True
