"""gRPC calls as HTTP/2 frames, for calls that no client library makes: messages that never end,
metadata of any bytes, replies that nobody reads."""

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from testbed.patience import SECONDS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
"""The setting of HTTP/2."""
FIRST_WINDOW = 2**16 - 1
FRAME_BYTES = 16_384


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(data: bytes) -> bytes:
    """A gRPC message, uncompressed."""
    return b"\0" + struct.pack(">I", len(data)) + data


def header_block(method: str, metadata: Iterable[tuple[bytes, bytes]]) -> bytes:
    """HPACK without its dynamic table, so that the same bytes serve every call."""
    fields = [
        (b":path", f"/{method}".encode()),
        (b":authority", b"127.0.0.1"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *metadata,
    ]
    method_post, scheme_http = b"\x83", b"\x86"
    literals = (b"\0" + _string(name) + _string(value) for name, value in fields)
    return method_post + scheme_http + b"".join(literals)


def _string(value: bytes) -> bytes:
    size = len(value)
    if size < 127:
        return bytes([size]) + value
    size -= 127
    length = bytearray([127])
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([*length, size]) + value


class Connection:
    """A connection over which calls are begun and, perhaps, never ended.

    `settings` is the payload of the client's SETTINGS frame, `source` the client's address.
    `acknowledges`: whether it acknowledges the server's SETTINGS. `tls`: how to encrypt; `None`
    for no encryption.
    """

    def __init__(
        self,
        address: str,
        settings: bytes = b"",
        source: str = "127.0.0.1",
        *,
        acknowledges: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._acknowledges = acknowledges
        self._has_settings = False
        """Whether the server's SETTINGS have arrived, before which no client begins a call."""
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), source_address=(source, 0))
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self._received = bytearray()
        self._windows = {0: FIRST_WINDOW}
        """Bytes that the server accepts now: of the connection (0) and of each stream."""
        self._initial = FIRST_WINDOW
        self._next = 1
        self.ended: set[int] = set()
        """Streams that the server has ended."""
        self.reset: set[int] = set()
        """Streams among them that the server has reset."""
        self.is_closed = False
        self.is_closing = False
        """The server accepts no further calls on it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, method: str, key: str | None = None, *metadata: tuple[bytes, bytes]) -> int:
        """Begin a call; returns its stream."""
        deadline = time.monotonic() + SECONDS
        while not (self._has_settings or self.is_closed) and time.monotonic() < deadline:
            self.look(0.1)
        stream, self._next = self._next, self._next + 2
        self._windows[stream] = self._initial
        own = [] if key is None else [(b"x-api-key", key.encode())]
        block = header_block(method, [*metadata, *own])
        parts = [block[at : at + FRAME_BYTES] for at in range(0, len(block), FRAME_BYTES)]
        frames = [
            frame(
                CONTINUATION if number else HEADERS,
                END_HEADERS if number == len(parts) - 1 else 0,
                stream,
                part,
            )
            for number, part in enumerate(parts)
        ]
        self.send_raw(b"".join(frames))
        return stream

    def send(self, stream: int, data: bytes | memoryview, *, last: bool = False) -> int:
        """Send the bytes that the server accepts now; returns their number. `last`: no message
        follows."""
        sent = 0
        while sent < len(data) and stream not in self.ended and not self.is_closed:
            size = min(self._windows[0], self._windows[stream], FRAME_BYTES, len(data) - sent)
            if size <= 0:
                break
            ends = last and sent + size == len(data)
            part = bytes(data[sent : sent + size])
            self.send_raw(frame(DATA, END_STREAM * ends, stream, part))
            self._windows[0] -= size
            self._windows[stream] -= size
            sent += size
        return sent

    def look(self, seconds: float = 0) -> None:
        """Wait at most so long for data from the server, and read all that has come."""
        while not self.is_closed and select.select([self._socket], [], [], seconds)[0]:
            try:
                data = self._socket.recv(1 << 16)
            except ConnectionError:
                data = b""
            self.is_closed = not data
            self._received += data
            self._parse()
            seconds = 0

    def end_of(self, stream: int, seconds: float) -> str:
        """How the call ended: `answered`, `reset` (the stream) or `closed` (the connection)."""
        deadline = time.monotonic() + seconds
        while not (self.is_closed or self.is_closing or stream in self.ended):
            assert time.monotonic() < deadline, "neither answered nor closed"
            self.look(seconds)
        if stream not in self.ended:
            return "closed"
        return "reset" if stream in self.reset else "answered"

    def _parse(self) -> None:
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + size:
                return
            kind, flags, stream = struct.unpack_from(">BBI", self._received, 3)
            payload = bytes(self._received[9 : 9 + size])
            del self._received[: 9 + size]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._windows[stream] = self._windows.get(stream, 0) + int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == INITIAL_WINDOW_SIZE:
                    for other in self._windows.keys() - {0}:
                        self._windows[other] += value - self._initial
                    self._initial = value
            self._has_settings = True
            if self._acknowledges:
                self.send_raw(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send_raw(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.is_closing = True
        elif kind == RST_STREAM:
            self.ended.add(stream)
            self.reset.add(stream)
        elif kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)

    def send_some(self, data: bytes) -> int:
        """Send what the connection takes at once; returns its size."""
        self._socket.setblocking(False)
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return 0
        except ConnectionError:
            self.is_closed = True
            return 0
        finally:
            self._socket.setblocking(True)

    def send_raw(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError:
            self.is_closed = True
