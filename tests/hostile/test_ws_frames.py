"""WebSocket frames that no library sends, over `/ws` of a real server: each ends its connection
with the code of RFC 6455, or costs a bounded amount of memory."""

import base64
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from fetchml.api.ws.watch import MAX_MESSAGE_BYTES
from tests.hostile.http_server import KEY, MIB, Target, target
from tests.hostile.test_http import push
from tests.support.cli_server import SECONDS

PROTOCOL_ERROR, UNSUPPORTED, INVALID_TEXT, TOO_BIG = 1002, 1003, 1007, 1009
CONTINUATION, TEXT, BINARY, CLOSE, PING = 0x0, 0x1, 0x2, 0x8, 0x9
FIN, COMPRESSED = 0x80, 0x40
FLOOD_SECONDS = 5
HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
    f"Sec-WebSocket-Extensions: permessage-deflate\r\nX-API-Key: {KEY}\r\n\r\n"
).encode()


def frame(first: int, payload: bytes = b"", size: int | None = None) -> bytes:
    """A frame with a mask of zeros. `first`: its first byte. `size`: what it claims."""
    size = len(payload) if size is None else size
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([first]) + length + bytes(4) + payload


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(FIN | CLOSE, code.to_bytes(2, "big") + reason)


FAULTS = {
    **{f"reserved bits {bits:#x}": (PROTOCOL_ERROR, frame(FIN | bits | TEXT, b"{}"))
       for bits in (0x10, 0x20, 0x40, 0x70)},
    **{f"opcode {opcode:#x}": (PROTOCOL_ERROR, frame(FIN | opcode))
       for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)},
    **{f"close with code {code}": (PROTOCOL_ERROR, close(code))
       for code in (0, 1, 999, 1004, 1005, 1015, 1016, 2999)},
    "a reserved bit of a ping": (PROTOCOL_ERROR, frame(FIN | COMPRESSED | PING)),
    "a ping in parts": (PROTOCOL_ERROR, frame(PING)),
    "a close in parts": (PROTOCOL_ERROR, frame(CLOSE, (1000).to_bytes(2, "big"))),
    "a ping of 126 bytes": (PROTOCOL_ERROR, frame(FIN | PING, bytes(126))),
    "a close of 64 KiB": (PROTOCOL_ERROR, frame(FIN | CLOSE, bytes(1 << 16))),
    "a close of one byte": (PROTOCOL_ERROR, frame(FIN | CLOSE, b"\3")),
    "a close with bytes that are not UTF-8": (INVALID_TEXT, close(1000, b"\xff")),
    "a part without a beginning": (PROTOCOL_ERROR, frame(FIN | CONTINUATION, b"{}")),
    "a message within another": (PROTOCOL_ERROR, frame(TEXT, b"{") + frame(FIN | TEXT, b"{}")),
    "bytes that are not UTF-8": (INVALID_TEXT, frame(FIN | TEXT, b'{"type":"\xff"}')),
    "a surrogate": (INVALID_TEXT, frame(FIN | TEXT, b'{"type":"\xed\xa0\x80"}')),
    "a character in two parts, of which one is missing":
        (INVALID_TEXT, frame(TEXT, b"\xc3") + frame(FIN | CONTINUATION, b"a")),
    "text that is not JSON": (INVALID_TEXT, frame(FIN | TEXT, b"ping")),
    "a binary message": (UNSUPPORTED, frame(FIN | BINARY, b"{}")),
    "a large message": (TOO_BIG, frame(FIN | TEXT, b" " * (MAX_MESSAGE_BYTES + 1))),
    "the head of a large message": (TOO_BIG, frame(FIN | TEXT, size=MAX_MESSAGE_BYTES + 1)),
    "the head of a message of 2^63 - 1 bytes": (TOO_BIG, frame(FIN | TEXT, size=2**63 - 1)),
    "the head of a message of 2^64 - 1 bytes": (TOO_BIG, frame(FIN | TEXT, size=2**64 - 1)),
    "large parts": (TOO_BIG, frame(TEXT, b" " * 4000) + frame(CONTINUATION, b" " * 200)),
    "many small parts": (TOO_BIG, frame(TEXT) + frame(CONTINUATION, b" ") * 5000),
    "a deep message": (INVALID_TEXT, frame(FIN | TEXT, b'{"a":' * 700)),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("frames")) as one:
        yield one


def open_socket(server: Target, buffer_bytes: int | None = None) -> socket.socket:
    """`buffer_bytes`: of the kernel, in each direction; `None` for its own choice."""
    client = socket.socket()
    client.settimeout(SECONDS)
    if buffer_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    client.connect(server.address)
    client.sendall(HANDSHAKE)
    reply = b""
    while b"\r\n\r\n" not in reply:
        reply += client.recv(1)
    assert reply.startswith(b"HTTP/1.1 101 ")
    assert b"extensions" not in reply.lower()  # A compressed message would be a reserved bit.
    return client


def frames_of(client: socket.socket) -> list[tuple[int, bytes]]:
    """First byte and payload of each frame until the server closes."""
    received = b""
    with suppress(ConnectionResetError):
        while data := client.recv(1 << 16):
            received += data
    frames = []
    while received:
        size, at = received[1], 2
        if size == 126:
            size, at = int.from_bytes(received[2:4], "big"), 4
        frames.append((received[0], received[at : at + size]))
        received = received[at + size :]
    return frames


@pytest.mark.parametrize("name", FAULTS)
def test_malformed_frame_closes_with_its_code(server: Target, name: str) -> None:
    code, sent = FAULTS[name]
    with open_socket(server) as client:
        client.sendall(sent)
        # The client answers the close frame and nothing else, as a library would.
        head = client.recv(2)
        rest = client.recv(head[1], socket.MSG_WAITALL)
        with suppress(ConnectionError):  # The server has closed with bytes that it has not read.
            client.sendall(close(code))
            assert not client.recv(1)
    assert (head[0], int.from_bytes(rest[:2], "big")) == (FIN | CLOSE, code)
    assert server.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 3000, 4999])
def test_other_close_is_answered(server: Target, code: int) -> None:
    with open_socket(server) as client:
        client.sendall(close(code, "bye ü".encode()))
        ((first, _),) = frames_of(client)
    assert first == FIN | CLOSE


def test_nothing_is_read_behind_a_fault(server: Target) -> None:
    with open_socket(server) as client:
        client.sendall(frame(FIN | 3) + frame(FIN | TEXT, b'{"type":"ping"}') * 100)
        kinds = [first for first, _ in frames_of(client)]
    assert kinds == [FIN | CLOSE]


def test_unfinished_messages_use_bounded_memory(server: Target, clients: ExitStack) -> None:
    """100 messages that never end, in parts of one byte and in empty parts."""
    almost = frame(TEXT, b" ") + frame(CONTINUATION, b" ") * (MAX_MESSAGE_BYTES - 100)
    endless = almost + frame(CONTINUATION) * 20_000
    opened = [clients.enter_context(open_socket(server)) for _ in range(100)]
    before = server.rss()
    for client in opened:
        push(client, endless)
    assert server.ask("GET", "/health")[0] == 200
    assert server.rss() - before < 16 * MIB


def fill(clients: list[socket.socket], data: bytes) -> None:
    """Send the same again and again over each connection, and read nothing, for a while or until
    the server takes no more."""
    places = dict.fromkeys(clients, 0)
    for client in clients:
        client.setblocking(False)
    until = time.monotonic() + FLOOD_SECONDS
    while time.monotonic() < until and select.select([], clients, [], 1)[1]:
        for client, at in places.items():
            with suppress(BlockingIOError):
                places[client] = (at + client.send(data[at:])) % len(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [frame(FIN | PING, bytes(125)) * 100, frame(FIN | TEXT, b'{"type":"ping"}') * 1000],
    ids=["pings", "messages"],
)
def test_flood_whose_replies_nobody_reads_uses_bounded_memory(
    server: Target, clients: ExitStack, data: bytes
) -> None:
    """Of 40 clients."""
    opened = [clients.enter_context(open_socket(server, 4096)) for _ in range(40)]
    before = server.rss()
    fill(opened, data)
    assert server.ask("GET", "/health")[0] == 200
    assert server.rss() - before < 40 * MIB
