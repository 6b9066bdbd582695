"""Limits of HTTP connections: heads, timeouts, and unread replies."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from fetchml.api.http import connection
from fetchml.api.rest.server import HttpTimeouts
from tests.support.rest_world import World, read_reply, rest_world
from tests.support.waiting import SECONDS

HEAD = b"GET /health HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture
async def hasty() -> AsyncIterator[World]:
    """A server with short timeouts."""
    async with rest_world(timeouts=HttpTimeouts(head=0.1, send=0.2)) as rest:
        yield rest


async def read_ok(reader: asyncio.StreamReader) -> None:
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await reader.readuntil(b"}")


async def test_incomplete_head_times_out(hasty: World) -> None:
    reply = await hasty.raw(HEAD)
    assert (reply.status, reply.code) == (408, "BAD_REQUEST")
    assert "did not arrive within 0.1 s" in reply.error
    assert reply.headers["Connection"] == "close"


async def test_head_sent_byte_by_byte_times_out(hasty: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    writer.write(HEAD + b"X-A: ")
    reply = asyncio.create_task(read_reply(reader))
    while not reply.done():
        writer.write(b"a")
        await asyncio.sleep(0.01)
    assert (await reply).status == 408
    writer.close()


async def test_idle_connection_outlives_the_head_timeout(hasty: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    async with asyncio.timeout(SECONDS):
        for _ in range(2):
            writer.write(HEAD)
            await writer.drain()
            writer.write(b"\r\n")
            await read_ok(reader)
            await asyncio.sleep(0.25)
        writer.write(HEAD)
        assert (await read_reply(reader)).status == 408
        assert await reader.read() == b""
    writer.close()


async def test_head_of_many_short_lines_is_too_large(rest: World) -> None:
    reply = await rest.raw(HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 500) for n in range(70)))
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert "larger than 32768 bytes" in reply.error


async def test_incomplete_heads_are_limited_in_total(
    rest: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADS_BYTES", 20_000)
    part = HEAD + b"X-A: " + b"a" * 6_000
    waiting = [await asyncio.open_connection("127.0.0.1", rest.port) for _ in range(3)]
    for _, writer in waiting:
        writer.write(part)
        await writer.drain()
    reply = await rest.raw(part)
    assert (reply.status, reply.code) == (503, "SERVICE_UNAVAILABLE")
    assert reply.headers["Retry-After"] == "5"
    for reader, writer in waiting:
        writer.write(b"\r\n\r\n")
        await read_ok(reader)
        writer.close()
    assert (await rest.raw(HEAD + b"X-A: \xff\x00\r\n\r\n")).status == 400  # all counted back


async def test_body_does_not_count_as_head(rest: World) -> None:
    """A body has its own limits of size and time."""
    task = b'{"job_name": "a"}' + b" " * 60_000
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    head = (
        f"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nX-API-Key: {rest.client.secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(task)}\r\n\r\n"
    ).encode()
    async with asyncio.timeout(SECONDS):
        for _ in range(2):
            writer.write(head)
            for first in range(0, len(task), 10_000):
                writer.write(task[first : first + 10_000])
                await writer.drain()
                await asyncio.sleep(0.01)
            reply = await reader.readuntil(b"\r\n\r\n")
            assert reply.startswith(b"HTTP/1.1 201 ")
            length = int(reply.lower().partition(b"content-length: ")[2].split()[0])
            await reader.readexactly(length)
    writer.close()


async def test_client_that_does_not_read_its_reply_is_dropped(hasty: World) -> None:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", hasty.port))
    request = b"GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n"
    with client:
        async with asyncio.timeout(SECONDS):
            try:
                while True:  # until the server drops the connection
                    await loop.sock_sendall(client, request * 100)
                    await asyncio.sleep(0.01)
            except ConnectionError:
                pass
    reply = await hasty.client.get("/metrics")
    assert b'fetchml_http_connections_ended_total{reason="not_read"} 1.0' in reply.body
    assert b'fetchml_http_held_bytes{of="replies"} 0.0' in reply.body
