"""Load over gRPC: connections that each keep some unary calls under way.

A client of grpc.aio takes as long for a call as its server, so that it would measure itself. This
one speaks just enough HTTP/2 to send the same call again and again, and costs a tenth.
"""

import asyncio
import struct
import time
from typing import cast

import uvloop

from benchmarks.figures import Load
from testbed.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    header_block,
)
from testbed.http2 import (
    message as grpc_message,
)

CALLS_EACH = 8
"""Calls under way on each connection."""
GRACE_SECONDS = 10

WHOLE_WINDOW = 2**31 - 1


def grpc_load(
    address: str,
    method: str,
    key: str,
    message: bytes,
    connections: int,
    seconds: float,
) -> Load:
    """Run in a process of its own. Raises RuntimeError for any call that fails."""
    block = header_block(method, [(b"x-api-key", key.encode())])
    body = grpc_message(message)
    return uvloop.run(_run(address, block, body, connections, seconds))


async def _run(address: str, block: bytes, body: bytes, connections: int, seconds: float) -> Load:
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(block, body), host, int(port))
        clients.append(client)
    began = time.perf_counter()
    for client in clients:
        client.go(until=began + seconds)
    async with asyncio.timeout(seconds + GRACE_SECONDS):
        await asyncio.gather(*(client.done for client in clients))
    took = time.perf_counter() - began
    return Load.of([latency for client in clients for latency in client.latencies], took)


class _Client(asyncio.Protocol):
    def __init__(self, block: bytes, body: bytes) -> None:
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._block = block
        self._body = body
        self._received = b""
        self._next_stream = 1
        self._window = FIRST_WINDOW
        """Bytes of messages that the server is ready to take."""
        self._held_back = 0
        self._sent_at: dict[int, float] = {}
        self._answered: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        window = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, WHOLE_WINDOW))
        window += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WHOLE_WINDOW - FIRST_WINDOW))
        self._transport.write(PREFACE + window)

    def go(self, until: float) -> None:
        self._until = until
        for _ in range(CALLS_EACH):
            self._send()

    def data_received(self, data: bytes) -> None:
        data = self._received + data
        at = 0
        while len(data) - at >= 9:
            size, kind, flags, stream = struct.unpack_from(">IBBI", b"\0" + data[at : at + 9])
            if len(data) - at < 9 + size:
                break
            self._take(kind, flags, stream, data[at + 9 : at + 9 + size])
            at += 9 + size
        self._received = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the server closed the connection"))

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._answered.add(stream)
        elif kind == HEADERS and flags & END_STREAM:
            self._end(stream, payload)
        elif kind == SETTINGS and not flags & ACK:
            self._transport.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._transport.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += struct.unpack(">I", payload)[0]
            held_back, self._held_back = self._held_back, 0
            for _ in range(held_back):
                self._send()
        elif kind in (RST_STREAM, GOAWAY):
            self.connection_lost(RuntimeError(f"the server gave up: {payload!r}"))

    def _end(self, stream: int, trailers: bytes) -> None:
        if stream not in self._answered:  # an error comes without a message
            self.connection_lost(RuntimeError(f"a call failed: {trailers!r}"))
            return
        self._answered.remove(stream)
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at.pop(stream))
        if now < self._until:
            self._send()
        elif not self._sent_at and not self.done.done():
            self.done.set_result(None)
            self._transport.close()

    def _send(self) -> None:
        if len(self._body) > self._window:
            self._held_back += 1
            return
        self._window -= len(self._body)
        stream = self._next_stream
        self._next_stream += 2
        self._sent_at[stream] = time.perf_counter()
        self._transport.write(
            frame(HEADERS, END_HEADERS, stream, self._block)
            + frame(DATA, END_STREAM, stream, self._body)
        )
