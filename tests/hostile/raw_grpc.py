"""A gRPC call with metadata of any bytes: HTTP/2 as it stands on the wire, since every client
library refuses to send some of them."""

import socket
from collections.abc import Iterable

from tests.hostile.raw import SECONDS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 7, 9
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_FRAME_BYTES = 16_384


def call(address: str, method: str, metadata: Iterable[tuple[bytes, bytes]], message: bytes) -> str:
    """How the call ended: `answered`, `reset` (the stream) or `closed` (the connection)."""
    fixed = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", f"/fetchml.v1.{method}".encode()),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
    block = b"".join(_literal(*pair) for pair in (*fixed, *metadata))
    body = b"\0" + len(message).to_bytes(4, "big") + message
    first, *rest = [block[at : at + _FRAME_BYTES] for at in range(0, len(block), _FRAME_BYTES)]
    sent = [PREFACE, frame(_SETTINGS, 0, 0, b"")]
    sent.append(frame(_HEADERS, 0 if rest else _END_HEADERS, 1, first))
    for number, part in enumerate(rest, start=1):
        sent.append(frame(_CONTINUATION, _END_HEADERS if number == len(rest) else 0, 1, part))
    sent.append(frame(_DATA, _END_STREAM, 1, body))
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        try:
            connection.sendall(b"".join(sent))
            return _end(connection)
        except ConnectionError:
            return "closed"


def _end(connection: socket.socket) -> str:
    with connection.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            stream.read(int.from_bytes(head[:3], "big"))
            kind, flags = head[3], head[4]
            if kind == _SETTINGS and not flags & _ACK:
                connection.sendall(frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _RST_STREAM:
                return "reset"
            elif kind == _GOAWAY:
                return "closed"
            elif kind in (_HEADERS, _DATA) and flags & _END_STREAM:
                return "answered"
    return "closed"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field of HPACK: not indexed, not compressed."""
    return b"\0" + _string(name) + _string(value)


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
