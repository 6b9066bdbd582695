"""Limits of HTTP connections: heads, timeouts, and unread replies."""

import asyncio
import gc
import json
import re
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from fetchml.api.http import connection
from fetchml.api.http.connection import LINE_BYTES, MOST_HEADERS, Connection
from fetchml.api.http.reply import JsonReply, Reply
from fetchml.api.rest.server import HttpTimeouts
from fetchml.api.ws.session import Timing
from fetchml.auth.limits import RateLimiter
from tests.support.rest_world import JSON, World, read_reply, rest_world
from tests.support.validate import ROOT
from tests.support.waiting import SECONDS, until_true

HEAD = b"GET /health HTTP/1.1\r\nHost: a\r\n"
GOING_AWAY = (1001).to_bytes(2)


@pytest.fixture
async def hasty() -> AsyncIterator[World]:
    """A server with short timeouts."""
    async with rest_world(timeouts=HttpTimeouts(send=0.2)) as rest:
        yield rest


async def read_ok(reader: asyncio.StreamReader) -> None:
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await reader.readuntil(b"}")


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"X-A: "])
async def test_connection_without_a_complete_request_is_closed(sent: bytes) -> None:
    async with rest_world(timeouts=HttpTimeouts(idle=0.2)) as rest:
        reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
        async with asyncio.timeout(SECONDS):
            writer.write(HEAD + b"\r\n")
            await read_ok(reader)
            writer.write(sent)
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X-A: " + b"a" * (LINE_BYTES + 1),
        b"GET /" + b"a" * LINE_BYTES,
        HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(MOST_HEADERS)),
    ],
)
async def test_head_has_limits(rest: World, head: bytes) -> None:
    reply = await rest.raw(head + b"\r\n\r\n")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert f"{MOST_HEADERS} headers may have {LINE_BYTES} bytes" in reply.error


def test_only_public_names_of_aiohttp_are_used() -> None:
    """Private ones break with its next minor release."""
    assert not set(Connection.__slots__) & set(dir(web.RequestHandler))
    private = re.compile(
        r"(from|import) aiohttp\.(http_parser|http_writer|web_protocol|streams|helpers)\b"
        r"|from aiohttp\S* import .*\b_"
    )
    own = [
        path for part in ("http", "rest") for path in (ROOT / "fetchml/api" / part).rglob("*.py")
    ]
    assert len(own) > 20
    assert [path.name for path in own if private.search(path.read_text())] == []


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


@pytest.mark.parametrize(
    ("method", "version", "connection"),
    [("GET", "1.1", "close"), ("GET", "1.0", "keep-alive"), ("HEAD", "1.1", "keep-alive")],
)
async def test_json_replies_are_the_same_on_every_connection(
    method: str, version: str, connection: str
) -> None:
    """The common request has a way of its own, past aiohttp's responses."""

    async def reply(
        method: str, version: str, connection: str
    ) -> tuple[str, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
        head = f"{method} /v1/queue HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n"
        writer.write(f"{head}X-API-Key: {rest.client.secret}\r\n\r\n".encode())
        async with asyncio.timeout(SECONDS):
            received = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
            status, *lines = received.removesuffix("\r\n\r\n").split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            size = 0 if method == "HEAD" else int(headers["Content-Length"])
            body = await reader.readexactly(size)
            if connection == "close":
                assert await reader.read() == b""
        writer.close()
        del headers["Date"]
        headers.pop("Connection", None)
        return status, headers, body

    async with rest_world(RateLimiter(0.01, 100)) as rest:
        status, headers, body = await reply("GET", "1.1", "keep-alive")
        other_status, other_headers, other_body = await reply(method, version, connection)
    assert status == "HTTP/1.1 200 OK"
    assert {"Content-Type", "Content-Length", "Server", "RateLimit-Limit"} <= headers.keys()
    assert (headers.pop("RateLimit-Remaining"), headers.pop("RateLimit-Reset")) == ("99", "100")
    assert other_headers.pop("RateLimit-Remaining") == "98"
    assert 100 < int(other_headers.pop("RateLimit-Reset")) <= 200
    assert (other_status, other_headers) == (status.replace("1.1", version), headers)
    assert other_body == (b"" if method == "HEAD" else body)


@pytest.mark.parametrize("path", ["/v1/queue", "/v1/tasks?view=full"])
async def test_idle_connection_keeps_no_reply(rest: World, path: str) -> None:
    """Clients could fill the memory with replies that they have read."""

    def kept() -> list[object]:
        return [
            each
            for each in gc.get_objects()
            if (isinstance(each, JsonReply) and each._content)
            or (isinstance(each, Reply) and each._pieces)
        ]

    request = {"job_name": "a", "metadata": {"k": "v" * 60_000}}
    for _ in range(2):
        body = json.dumps(request).encode()
        reply = await rest.client.ask("POST", "/v1/tasks", body, **JSON)
        assert reply.status == 201
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {rest.client.secret}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(SECONDS):
        received = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(received.split(b"Content-Length: ")[1].split()[0]))
    await until_true(lambda: not kept())
    writer.close()


async def test_requests_of_one_connection_have_traces_of_their_own(rest: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    writer.write(b"GET /v1/none HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    traces = {(await read_reply(reader)).json["trace_id"] for _ in range(3)}
    writer.close()
    assert len(traces) == 3


async def test_end_of_the_streams_waits_for_no_connection(
    rest: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection waits for the rest of a body after an upload that the stop has ended."""
    monkeypatch.setattr(connection, "LINGERING_SECONDS", 10 * SECONDS)
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    head = f"PUT /v1/snapshots HTTP/1.1\r\nHost: a\r\nX-API-Key: {rest.client.secret}\r\n"
    writer.write(f"{head}Content-Length: 1000\r\n\r\n".encode())
    await until_true(lambda: len(rest.server._streams) == 1)
    async with asyncio.timeout(SECONDS):
        await rest.server._streams.close("shutting down", 10 * SECONDS)
        assert (await read_reply(reader)).status == 503
    writer.close()


async def test_end_of_the_streams_waits_for_the_close_frames_of_clients() -> None:
    """Of clients that leave it to the server to close the connection, as browsers do."""
    long = 10 * SECONDS
    timeouts = HttpTimeouts(streams_close=long, requests_finish=long, ws=Timing(close_within=long))
    async with rest_world(timeouts=timeouts) as rest:
        reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
        head = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        writer.write(f"{head}X-API-Key: {rest.client.secret}\r\n\r\n".encode())
        async with asyncio.timeout(SECONDS):
            await reader.readuntil(b"\r\n\r\n")
            stopping = asyncio.create_task(rest.server.stop("shutting down"))
            await reader.readuntil(b"shutting down")
            writer.write(b"\x88\x82" + bytes(4) + GOING_AWAY)
            assert await reader.read() == b""
            await stopping
        writer.close()
