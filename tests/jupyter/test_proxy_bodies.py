"""Bodies that pass the proxy of Jupyter services, and both sides that stall or leave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from fetchml.api.rest.server import HttpTimeouts
from tests.jupyter.proxy_world import BASE, LINK, World, proxy_world
from tests.support.front import EDGE
from tests.support.waiting import SECONDS, soon


async def test_request_bodies_are_forwarded(world: World) -> None:
    async def add(request: web.BaseRequest) -> web.Response:
        text = f"{request.method} {request.content_length}"
        return web.Response(status=201, body=text.encode() + b" " + await request.read())

    await world.jupyter(add)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for data, length in ((pieces(), None), (b"abc", 3)):
            headers = {"Connection": "close"}
            async with world.ask(method, f"{BASE}/x", data=data, headers=headers) as reply:
                assert (reply.status, await reply.text()) == (201, f"{method} {length} abc")


@pytest.mark.fronts(EDGE)
async def test_expect_continue_is_honoured(world: World) -> None:
    async def size(request: web.BaseRequest) -> web.Response:
        assert "Expect" not in request.headers
        return web.Response(text=str(len(await request.read())))

    await world.jupyter(size)
    async with world.ask("PUT", f"{BASE}/x", data=b"x" * 1000, expect100=True) as reply:
        assert await reply.text() == "1000"


@pytest.mark.fronts(EDGE)
async def test_bodies_are_streamed(world: World) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def both(request: web.BaseRequest) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        while piece := await request.content.readany():
            got.put_nowait(piece)
            await reply.write(piece.upper())
        return reply

    await world.jupyter(both)
    reader, writer = await world.connect()
    head = f"PUT {LINK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    for piece in (b"abc", b"def"):
        writer.write(b"3\r\n" + piece + b"\r\n")
        async with asyncio.timeout(SECONDS):
            assert await got.get() == piece
            await reader.readuntil(piece.upper())
    writer.write(b"0\r\n\r\n")
    async with asyncio.timeout(SECONDS):
        assert await reader.readuntil(b"0\r\n\r\n")
    writer.close()


async def test_a_client_that_does_not_read_holds_jupyter_back_and_is_cut_off(
    tmp_path: Path,
) -> None:
    written = 0
    over = asyncio.Event()

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal written
        reply = web.StreamResponse()
        await reply.prepare(request)
        try:
            while True:
                await reply.write(b"x" * 65536)
                written += 65536
        finally:
            over.set()

    async with proxy_world(tmp_path, HttpTimeouts(send=0.3)) as world:
        await world.jupyter(endless)
        _, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1)
        writer.write(f"GET {BASE}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await soon(over.wait())
        assert 0 < written < 32 << 20, "what sockets take, and no more"
        writer.close()


@pytest.mark.slow
async def test_a_jupyter_that_does_not_read_holds_the_client_back(tmp_path: Path) -> None:
    # Held by the test: of a task that waits for what nobody holds, the garbage collector takes
    # both.
    over = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()

    taken = 0

    async def send(writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        head = f"PUT {LINK} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 40}\r\n\r\n"
        writer.write(head.encode())
        with contextlib.suppress(ConnectionError):
            while True:
                await writer.drain()
                taken += 65536
                writer.write(b"x" * 65536)

    timeouts = HttpTimeouts(jupyter_answer=0.2, send=0.2)
    async with proxy_world(tmp_path, timeouts) as world:
        await world.hostile(deaf)
        reader, writer = await world.connect()
        sending = asyncio.create_task(send(writer))
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError):
                assert (await reader.readline())[:13] in (b"HTTP/1.1 503 ", b"")
        sending.cancel()
        writer.transport.abort()
        over.set()
        assert 0 < taken < 32 << 20


async def test_a_stalled_upload_is_cut_off(tmp_path: Path) -> None:
    cut = asyncio.Event()

    async def read(request: web.BaseRequest) -> web.Response:
        try:
            await request.read()
        finally:
            cut.set()
        raise AssertionError("half of a body is no body")

    async with proxy_world(tmp_path, HttpTimeouts(send=0.2)) as world:
        await world.jupyter(read)
        head = f"PUT {LINK} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
        reader, writer = await world.connect()
        writer.write(head.encode())
        async with asyncio.timeout(SECONDS):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        await soon(cut.wait())
        writer.close()


@pytest.mark.fronts(EDGE)
@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_ends_the_request(world: World, begun: bool) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if begun:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        asked.set()
        assert await reader.read() == b""
        ended.set()

    await world.hostile(wait)
    _, writer = await world.connect()
    writer.write(f"GET {BASE}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await soon(asked.wait())
    writer.transport.abort()
    await soon(ended.wait())


@pytest.mark.fronts(EDGE)
async def test_an_upload_cut_by_its_client_does_not_look_complete(world: World) -> None:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    begun = asyncio.Event()

    async def read(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"abc\r\n")
        begun.set()
        got.set_result(head + await reader.read())

    await world.hostile(read)
    _, writer = await world.connect()
    head = f"PUT {LINK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    writer.write(head.encode())
    await soon(begun.wait())
    writer.transport.abort()
    async with asyncio.timeout(SECONDS):
        assert (await got).endswith(b"3\r\nabc\r\n"), "the last, empty piece is missing"
