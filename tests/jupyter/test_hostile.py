"""Hostile containers: malformed replies, and replacements of the socket."""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fetchml.adapters.jupyter.client import MAX_ANSWER_BYTES, HttpJupyterClient
from fetchml.adapters.jupyter.link import SOCKET, http_session, open_link
from fetchml.api.rest.server import HttpTimeouts
from fetchml.ports.jupyter import JupyterLink, JupyterSilent
from tests.jupyter.proxy_world import BASE, ID, TOKEN, World, proxy_world
from tests.support.waiting import SECONDS

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"
ASK = f"GET {BASE}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode()
ASK_LAST = f"GET {BASE}/.fetchml/notice HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with proxy_world(tmp_path, HttpTimeouts(jupyter_answer=0.5)) as made:
        yield made


def statuses(wire: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", wire)]


PASSED_ON = {
    "a second reply behind the first": GOOD + SECOND,
    "a second reply behind none": b"HTTP/1.1 204 No Content\r\n\r\n" + SECOND,
    "a body where there is none": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
    + SECOND,
    "hints before the reply": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + GOOD,
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n"
    b"2\r\nok\r\n0\r\nSet-Cookie: a=1; Path=/\r\n\r\n" + SECOND,
    "a reason": b"HTTP/1.1 200 <script>\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("reply", PASSED_ON.values(), ids=PASSED_ON)
async def test_one_reply_is_read_for_one_request(world: World, reply: bytes) -> None:
    await world.replies(reply)
    wire = await world.raw(ASK + ASK_LAST)
    assert len(statuses(wire)) == 2, wire
    assert wire.endswith(b"\r\n\r\n{}"), "the second is that of the second request"
    for smuggled in (b"second", b"Set-Cookie", b"Early", b"<script>"):
        assert smuggled not in wire


REFUSED = {
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: upgrade\r\n\r\n" + SECOND,
    "a status that is none": b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 100_000 + b"\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "half a character": b"HTTP/1.1 200 OK\r\nX: \xff\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("reply", REFUSED.values(), ids=REFUSED)
async def test_malformed_replies_are_unavailable(world: World, reply: bytes) -> None:
    await world.replies(reply)
    wire = await world.raw(ASK + ASK_LAST)
    assert statuses(wire) == [503, 200], wire
    assert b"SERVICE_UNAVAILABLE" in wire
    assert b"second" not in wire


CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN_OFF = {
    "less than it promised": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok",
    "chunks without an end": CHUNKS + b"2\r\nok\r\n",
    "chunks that are none": CHUNKS + b"2\r\nok\r\nxyz\r\n",
}


@pytest.mark.parametrize("reply", BROKEN_OFF.values(), ids=BROKEN_OFF)
async def test_a_truncated_reply_does_not_look_complete(world: World, reply: bytes) -> None:
    await world.replies(reply)
    wire = await world.raw(ASK + ASK_LAST)
    # Some of it shows at once: then it is refused as a whole.
    assert statuses(wire) in ([200], [503, 200])
    assert not wire.endswith(b"0\r\n\r\n")


async def test_endless_interim_replies_are_cut_off(world: World) -> None:
    async def hint(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    await world.hostile(hint)
    async with world.get() as reply:
        assert reply.status == 503


async def test_a_slow_reply_head_is_cut_off(world: World) -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    await world.hostile(trickle)
    async with world.get() as reply:
        assert reply.status == 503


async def test_a_reply_before_the_body_was_read(world: World) -> None:
    await world.replies(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(2 * SECONDS)

    async with asyncio.timeout(SECONDS), world.ask("PUT", f"{BASE}/x", data=pieces()) as reply:
        assert (reply.status, await reply.text()) == (403, "no")


# Its socket.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    return made


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_only_a_socket_is_opened(folder: Path, tmp_path: Path) -> None:
    at = folder / SOCKET
    real = socket.socket(socket.AF_UNIX)
    real.bind(str(tmp_path / "docker.sock"))
    places: tuple[Callable[[], object], ...] = (
        lambda: None,
        lambda: at.symlink_to(tmp_path / "docker.sock"),
        lambda: os.mkfifo(at),
        at.touch,
        at.mkdir,
    )
    for place in places:
        at.unlink(missing_ok=True)
        place()
        before = open_files()
        with pytest.raises(OSError, match=r"."):
            open_link(folder, ID, TOKEN)
        assert open_files() == before
    real.close()


def test_a_linked_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    with socket.socket(socket.AF_UNIX) as real:
        real.bind(str(tmp_path / "real" / SOCKET))
        (tmp_path / "run").symlink_to("real")
        with pytest.raises(NotADirectoryError):
            open_link(tmp_path / "run", ID, TOKEN)


async def serve(at: Path, name: str) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n{name}".encode())
        writer.close()

    return await asyncio.start_unix_server(answer, at)


async def ask(link: JupyterLink) -> str:
    async with http_session(link, answer_seconds=1) as session, session.get("http://x/") as reply:
        return await reply.text()


async def test_a_replacement_of_the_socket_is_not_asked(folder: Path, tmp_path: Path) -> None:
    async with await serve(folder / SOCKET, "jupyter"), await serve(tmp_path / "host", "host"):
        link = open_link(folder, ID, TOKEN)
        (folder / SOCKET).unlink()
        (folder / SOCKET).symlink_to(tmp_path / "host")
        assert await ask(link) == "jupyter"
        link.close()


async def test_a_closed_link_reaches_nothing(folder: Path, tmp_path: Path) -> None:
    async with await serve(folder / SOCKET, "jupyter"), await serve(tmp_path / "host", "host"):
        link = open_link(folder, ID, TOKEN)
        link.close()
        link.close()
        fd = os.open(tmp_path / "host", os.O_PATH)  # most likely of the same number
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await ask(link)
        os.close(fd)
        assert "closed" in str(refused.value.os_error)


async def test_a_long_path_to_the_socket_works(tmp_path: Path) -> None:
    """A socket's path may have 107 bytes, one in a folder more."""
    deep = tmp_path / ("x" * 100) / "y"
    deep.mkdir(parents=True)
    async with await serve(tmp_path / SOCKET, "jupyter"):
        (tmp_path / SOCKET).rename(deep / SOCKET)
        link = open_link(deep, ID, TOKEN)
        assert await ask(link) == "jupyter"
        link.close()


async def test_a_socket_that_accepts_nothing_times_out(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(folder / SOCKET))
        deaf.listen(0)
        link = open_link(folder, ID, TOKEN)
        waiting = await link.connector.connect()
        with pytest.raises(TimeoutError):
            await link.connector.connect()
        waiting.close()
        link.close()


# What the server itself asks it.

KERNELS = """[{"id": "a", "execution_state": "idle", "last_activity": "2025-10-09T08:53:20.5Z"},
 {"id": "b", "execution_state": "%s", "last_activity": "2025-10-09T08:53:19Z"}]"""
TERMINALS = '[{"name": "1", "last_activity": "2025-10-09T10:53:21.123456+02:00"}]'
AT = 1_760_000_000_000


async def activity(world: World, kernels: Any, terminals: Any = "[]") -> Any:
    """Of a Jupyter that lists these: text, or a status."""

    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.headers["Authorization"] == f"token {TOKEN}"
        listed = {f"{BASE}/api/kernels": kernels, f"{BASE}/api/terminals": terminals}
        found = listed[request.raw_path]
        return web.Response(status=found) if isinstance(found, int) else web.Response(text=found)

    await world.jupyter(answer)
    return await HttpJupyterClient(0.5).activity(world.services.links[ID])


async def test_the_newest_activity_counts(world: World) -> None:
    found = await activity(world, KERNELS % "idle", TERMINALS)
    assert (found.busy, found.last) == (False, AT + 1123)


async def test_a_busy_kernel_counts_as_activity(world: World) -> None:
    found = await activity(world, KERNELS % "busy", 404)
    assert (found.busy, found.last) == (True, AT + 500)


async def test_a_service_without_kernels_is_not_busy(world: World) -> None:
    found = await activity(world, "[]")
    assert (found.busy, found.last) == (False, None)


@pytest.mark.parametrize(
    "kernels",
    [
        403,
        500,
        302,
        "",
        "{}",
        "[1]",
        "[" * 100_000,
        '[{"last_activity": 1}]',
        '[{"last_activity": "2025-10-09T08:53:20"}]',
        '[{"last_activity": "now"}]',
        " " * (MAX_ANSWER_BYTES + 1) + "[]",
    ],
    ids=lambda kernels: str(kernels)[:40],
)
async def test_a_nonsensical_answer_counts_as_silence(world: World, kernels: Any) -> None:
    with pytest.raises(JupyterSilent):
        await activity(world, kernels)


async def test_an_endless_answer_counts_as_silence(world: World) -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    await world.hostile(endless)
    client, link = HttpJupyterClient(0.3), world.services.links[ID]
    with pytest.raises(JupyterSilent):
        await client.activity(link)
    assert not await client.answers(link)


@pytest.mark.parametrize(("status", "answers"), [(200, True), (403, False), (302, False)])
async def test_only_a_sound_answer_counts_as_one(world: World, status: int, answers: bool) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.raw_path == f"{BASE}/api/status"
        return web.Response(status=status, headers={"Location": "/"})

    await world.jupyter(answer)
    assert await HttpJupyterClient(0.5).answers(world.services.links[ID]) is answers
    world.services.links[ID].close()
    assert not await HttpJupyterClient(0.5).answers(world.services.links[ID])
