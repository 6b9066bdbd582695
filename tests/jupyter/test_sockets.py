"""WebSockets of kernels and terminals through the proxy."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from fetchml.api.proxy import visitors
from fetchml.api.rest.server import HttpTimeouts
from tests.jupyter.proxy_world import BASE, ID, OTHER, World, proxy_world
from tests.support.waiting import SECONDS, soon

KERNEL = "v1.kernel.websocket.jupyter.org"
Behaviour = Callable[[web.WebSocketResponse], Awaitable[None]]


def taking(behaviour: Behaviour, **options: Any) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A Jupyter with this behaviour of every WebSocket."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(**{"protocols": (KERNEL,), "max_msg_size": 0, **options})
        await socket.prepare(request)
        await behaviour(socket)
        return socket

    return answer


async def repeat(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        await socket.send_frame(
            message.data.encode() if message.type is WSMsgType.TEXT else message.data, message.type
        )


def connect(world: World, path: str = f"{BASE}/api/kernels/1/channels", **options: Any) -> Any:
    return world.session.ws_connect(world.url(path), max_msg_size=0, **options)


async def end_of(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    message = await socket.receive(timeout=SECONDS)
    assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING), message
    return socket.close_code, message.extra or ""


async def test_messages_are_forwarded_unchanged(world: World) -> None:
    await world.jupyter(taking(repeat))
    async with connect(world) as socket:
        for text in ("", "ü", "x" * 100_000):
            await socket.send_str(text)
            assert await socket.receive_str(timeout=SECONDS) == text
        for data in (b"", b"\x00\xff", bytes(9 << 20)):
            await socket.send_bytes(data)
            assert await socket.receive_bytes(timeout=SECONDS) == data


async def test_jupyter_receives_only_the_headers_of_the_handshake_it_may_see(world: World) -> None:
    seen: list[web.BaseRequest] = []
    take = taking(repeat)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request)
        return await take(request)

    await world.jupyter(answer)
    path = f"{BASE}/api/kernels/a%20b/channels?session_id=1&token=x%2F"
    protocols = (f"fetchml.key.{world.secret}", "other", KERNEL)
    headers = {
        "X-API-Key": world.secret,
        "Origin": "http://x",
        "Host": "x",
        "Cookie": "_xsrf=1; a=1",
    }
    async with connect(world, path, protocols=protocols, headers=headers, compress=15) as socket:
        assert socket.protocol == KERNEL
        assert not socket.compress
    request = seen[0]
    assert request.raw_path == path
    assert request.headers["Sec-WebSocket-Protocol"].replace(" ", "") == f"other,{KERNEL}"
    assert {"X-API-Key", "Sec-WebSocket-Extensions"}.isdisjoint(request.headers)
    kept = {name: request.headers[name] for name in ("Origin", "Host", "Cookie")}
    assert kept == {"Origin": "http://x", "Host": "x", "Cookie": "_xsrf=1"}


async def test_a_handshake_without_a_protocol_selects_none(world: World) -> None:
    await world.jupyter(taking(repeat, protocols=()))
    async with connect(world, protocols=("other",)) as socket:
        assert socket.protocol is None
        await socket.send_str("a")
        assert await socket.receive_str(timeout=SECONDS) == "a"


async def test_pings_and_pongs_are_forwarded(world: World) -> None:
    ponged = asyncio.Event()

    async def ping(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"a")
        while (message := await socket.receive()).type is not WSMsgType.CLOSE:
            if message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                assert message.data == b"a"
                ponged.set()

    await world.jupyter(taking(ping, autoping=False))
    async with connect(world, autoping=False) as socket:
        message = await socket.receive(timeout=SECONDS)
        assert (message.type, message.data) == (WSMsgType.PING, b"a")
        await socket.pong(b"a")
        await soon(ponged.wait())
        await socket.ping(b"b")
        message = await socket.receive(timeout=SECONDS)
        assert (message.type, message.data) == (WSMsgType.PONG, b"b")


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_a_close_by_jupyter_is_forwarded(world: World, code: int) -> None:
    async def close(socket: web.WebSocketResponse) -> None:
        await socket.close(code=code, message="warum nicht, ü".encode())

    await world.jupyter(taking(close))
    async with connect(world) as socket:
        assert await end_of(socket) == (code, "warum nicht, ü")


@pytest.mark.parametrize("code", [1000, 4001])
async def test_a_close_by_the_browser_is_forwarded(world: World, code: int) -> None:
    ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def wait(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        ended.set_result(socket.close_code)

    await world.jupyter(taking(wait))
    async with connect(world) as socket:
        await socket.close(code=code)
    async with asyncio.timeout(SECONDS):
        assert await ended == code


async def test_the_browser_s_socket_ends_when_jupyter_dies(world: World) -> None:
    async def die(socket: web.WebSocketResponse) -> None:
        assert socket._req is not None and socket._req.transport is not None  # noqa: PT018
        socket._req.transport.abort()

    await world.jupyter(taking(die))
    async with connect(world) as socket:
        assert (await end_of(socket))[0] == 1011


async def test_jupyter_s_socket_ends_when_the_browser_dies(world: World) -> None:
    ended = asyncio.Event()

    async def wait(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        ended.set()

    await world.jupyter(taking(wait))
    async with connect(world) as socket:
        socket._response.connection.transport.abort()
        await soon(ended.wait())


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_rejected_handshake_is_forwarded(world: World, status: int) -> None:
    async def refuse(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text="why", headers={"X-Secret": "1"})

    await world.jupyter(refuse)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connect(world)
    assert refused.value.status == status


HANDSHAKE = (
    f"GET {BASE}/x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: Upgrade\r\n%s\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        OK,
        b"",
        b"nonsense\r\n\r\n",
        SWITCH % (b"websocket", b"Sec-WebSocket-Accept: x\r\n"),
        SWITCH % (b"h2c", b""),
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_malformed_handshake_opens_nothing(world: World, reply: bytes) -> None:
    await world.replies(reply)
    wire = await world.raw(HANDSHAKE.replace(b"Upgrade\r\n", b"Upgrade, close\r\n", 1))
    assert wire.startswith(b"HTTP/1.1 503 ")
    assert wire.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"AAAA==", b"A", 400),
        (b"Version: 13", b"Version: 99", 400),
        (b"GET", b"POST", 400),
        (b"Upgrade: websocket", b"Upgrade: h2c", 200),
        (ID.encode(), OTHER.encode(), 404),
    ],
)
async def test_other_upgrades_are_rejected(
    world: World, old: bytes, new: bytes, status: int
) -> None:
    await world.replies(OK)
    reader, writer = await world.connect()
    writer.write(HANDSHAKE.replace(old, new))
    async with asyncio.timeout(SECONDS):
        assert (await reader.readline()).startswith(f"HTTP/1.1 {status} ".encode())
    writer.close()


@pytest.mark.parametrize("from_jupyter", [False, True])
async def test_malformed_frames_end_the_socket(world: World, from_jupyter: bool) -> None:
    ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def behave(socket: web.WebSocketResponse) -> None:
        await socket.send_str("first")
        if from_jupyter:
            assert socket._req is not None and socket._req.transport is not None  # noqa: PT018
            socket._req.transport.write(b"\x83\x00")  # an opcode of no meaning
        await socket.receive()
        ended.set_result(socket.close_code)

    await world.jupyter(taking(behave))
    async with connect(world) as socket:
        assert await socket.receive_str(timeout=SECONDS) == "first"
        if not from_jupyter:
            socket._conn.transport.write(b"\x82\x00")  # a browser's frames are masked
        assert (await end_of(socket))[0] == 1002
    async with asyncio.timeout(SECONDS):
        assert await ended == 1002


@pytest.mark.slow
async def test_a_message_is_forwarded_before_it_is_complete(world: World) -> None:
    """Nothing waits for the whole of it: the proxy would have to keep it."""
    half = 40 << 20
    go = asyncio.Event()

    async def send(socket: web.WebSocketResponse) -> None:
        assert socket._req is not None and socket._req.transport is not None  # noqa: PT018
        transport = socket._req.transport
        transport.write(b"\x82\x7f" + (2 * half).to_bytes(8, "big") + bytes(half))
        await go.wait()
        transport.write(bytes(half))
        await socket.receive()

    await world.jupyter(taking(send))
    reader, writer = await world.connect()
    writer.write(HANDSHAKE)
    async with asyncio.timeout(SECONDS):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(10 + half)
        go.set()
        assert await reader.readexactly(half) == bytes(half)
    writer.close()


async def test_a_jupyter_that_stalls_within_a_frame_is_cut_off(tmp_path: Path) -> None:
    async def stall(socket: web.WebSocketResponse) -> None:
        assert socket._req is not None and socket._req.transport is not None  # noqa: PT018
        socket._req.transport.write(b"\x82\x7e\x10\x00" + b"x")
        await socket.receive()

    async with proxy_world(tmp_path, HttpTimeouts(send=0.2)) as world:
        await world.jupyter(taking(stall))
        async with connect(world) as socket:
            assert (await end_of(socket))[0] in (None, 1006), "cut off: no frame can be put in"
        await world.until_idle()


@pytest.mark.parametrize("answers", [False, True])
async def test_a_silent_browser_is_pinged(tmp_path: Path, answers: bool) -> None:
    async with proxy_world(tmp_path, HttpTimeouts(send=0.2)) as world:
        await world.jupyter(taking(repeat))
        async with connect(world, autoping=False) as socket:
            for _ in range(3 if answers else 1):
                message = await socket.receive(timeout=SECONDS)
                assert message.type is WSMsgType.PING
                if answers:
                    await socket.pong(message.data)
            if not answers:
                await world.until_idle()


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["browser", "jupyter"])
async def test_a_slow_side_holds_the_other_back_and_is_cut_off(tmp_path: Path, slow: str) -> None:
    sent = 0

    async def flood(socket: Any) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while True:
                await socket.send_bytes(bytes(100_000))
                sent += 100_000

    async def behave(socket: web.WebSocketResponse) -> None:
        if slow == "browser":
            await flood(socket)
        else:
            assert socket._req is not None
            socket._req.protocol.pause_reading()
            await asyncio.Event().wait()

    async with proxy_world(tmp_path, HttpTimeouts(send=1)) as world:
        await world.jupyter(taking(behave))
        async with connect(world) as socket:
            if slow == "browser":
                socket._conn.protocol.pause_reading()
                flooding = asyncio.create_task(asyncio.sleep(0))
            else:
                flooding = asyncio.create_task(flood(socket))
            before = -1
            while before < sent:
                before = sent
                await asyncio.sleep(0.3)
            assert 0 < sent < 64 << 20, "what sockets take, and no more"
            await world.until_idle()
            if (transport := socket._conn.transport) is not None:
                transport.abort()
            await flooding


async def test_a_shutdown_closes_sockets_with_a_reason(world: World) -> None:
    told: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def wait(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        told.set_result(socket.close_code)

    await world.jupyter(taking(wait))
    async with connect(world) as socket:
        stopping = asyncio.create_task(world.server.stop("the server is shutting down"))
        assert await end_of(socket) == (1001, "the server is shutting down")
        async with asyncio.timeout(SECONDS):
            assert await told == 1001
            await stopping


@pytest.mark.parametrize("limit", ["OPEN_BY_SERVICE", "SOCKETS_BY_SERVICE"])
async def test_sockets_count_against_the_limit_of_open_exchanges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(visitors, limit, 1)
    async with proxy_world(tmp_path) as world:
        await world.jupyter(taking(repeat))
        async with connect(world) as socket:
            await socket.send_str("a")
            await socket.receive_str(timeout=SECONDS)
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await connect(world)
        await world.until_idle()
        async with connect(world) as socket:
            await socket.send_str("a")
            assert await socket.receive_str(timeout=SECONDS) == "a"
