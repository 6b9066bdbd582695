"""Load over HTTP/1.1: connections that each send the next request when they have their reply.

Bytes are prepared once and replies are only looked at, so that one core of the machine makes more
requests than any server here can answer. The same client measures both sides of a ratio.
"""

import asyncio
import json
import time
from typing import cast

import uvloop

from benchmarks.figures import Load

GRACE_SECONDS = 10


def http_request(
    method: str, path: str, key: str | None = None, body: dict[str, object] | None = None
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    content = b""
    if key is not None:
        lines.append(f"X-API-Key: {key}")
    if body is not None:
        content = json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def http_load(address: str, request: bytes, connections: int, seconds: float) -> Load:
    """Run in a process of its own. Raises RuntimeError for any reply that is not a success."""
    return uvloop.run(_run(address, request, connections, seconds))


async def _run(address: str, request: bytes, connections: int, seconds: float) -> Load:
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(request), host, int(port))
        clients.append(client)
    began = time.perf_counter()
    for client in clients:
        client.go(until=began + seconds)
    async with asyncio.timeout(seconds + GRACE_SECONDS):
        await asyncio.gather(*(client.done for client in clients))
    took = time.perf_counter() - began
    return Load.of([latency for client in clients for latency in client.latencies], took)


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def go(self, until: float) -> None:
        self._until = until
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end_of_head, body = self._received.partition(b"\r\n\r\n")
        if not end_of_head:
            return
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        if not head.startswith(b"HTTP/1.1 2"):
            self.connection_lost(RuntimeError(f"not a success: {head!r} {body!r}"))
            return
        self._received = b""
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at)
        if now < self._until:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the server closed the connection"))

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)
