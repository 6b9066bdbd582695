"""Requests to a Jupyter service: what it gets to see, and what of its reply a browser does."""

import asyncio
import contextlib
import gzip
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from fetchml.api.jupyter import proxy, visitors
from fetchml.api.rest.server import HttpTimeouts
from fetchml.auth.limits import RateLimiter
from fetchml.core.requests.jupyter import ServiceStatus
from fetchml.views import JupyterState
from tests.jupyter.proxy_world import BASE, ID, OTHER, TOKEN, World, proxy_world, until
from tests.support.front import EDGE

pytestmark = pytest.mark.fronts(EDGE)

LINK = f"{BASE}/x?token={TOKEN}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with proxy_world(tmp_path) as made:
        yield made


async def echo(request: web.BaseRequest) -> web.Response:
    """What it was asked, and with which headers."""
    lines = [f"{request.method} {request.raw_path}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return web.Response(text="\n".join(lines))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/lab?token=a%20b+c&x=%2F",
        "/files/a%20b/%C3%BC.ipynb?download=1",
        "/files/100%25/%7e~",
        "/a%2Fb",
        "/a//b/",
        "/api/contents/..%2ehidden?x=../..",
        "/files/...",
    ],
)
async def test_path_and_query_go_on_as_they_came(world: World, path: str) -> None:
    await world.jupyter(echo)
    async with world.get(BASE + path) as reply:
        assert reply.status == 200
        assert (await reply.text()).splitlines()[0] == f"GET {BASE}{path}"


@pytest.mark.parametrize(
    "path",
    [
        f"{BASE}/../{OTHER}/",
        f"{BASE}/%2e%2e/{OTHER}/",
        f"{BASE}/.%2E/x",
        f"{BASE}/a/..%2f..%2F{OTHER}/",
        f"{BASE}/a%5c..%5cb",
        f"{BASE}/a\\..\\b",
        f"{BASE}/./x",
        f"{BASE}%2F..%2F{OTHER}/",
        f"/jupyter%2F{ID}/x",
        f"/jupyter/{ID}%00/x",
        f"/jupyter/../jupyter/{ID}/x",
        f"/jupyter/{ID}x/x",
        f"/jupyter//{ID}/x",
        f"{BASE}/x#y",
    ],
)
async def test_a_path_leads_nowhere_else(world: World, path: str) -> None:
    await leads_nowhere(world, path)


@pytest.mark.not_through(EDGE, "Envoy sends its path on as a path")
async def test_a_whole_address_leads_nowhere_else(world: World) -> None:
    await leads_nowhere(world, f"http://{OTHER}/jupyter/{ID}/x")


async def leads_nowhere(world: World, path: str) -> None:
    asked: list[str] = []

    async def note(request: web.BaseRequest) -> web.Response:
        asked.append(request.raw_path)
        return web.Response()

    await world.jupyter(note)
    await world.jupyter(note, OTHER)
    reply = await world.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert reply.split()[1] in (b"400", b"404")
    assert asked == []


async def test_headers_name_no_other_target(world: World) -> None:
    await world.jupyter(echo)

    async def other(_: web.BaseRequest) -> web.Response:
        raise AssertionError("the other service was asked")

    await world.jupyter(other, OTHER)
    headers = {
        "Host": f"{OTHER}.example",
        "X-Forwarded-Host": OTHER,
        "X-Original-URL": f"/jupyter/{OTHER}/",
        "Forwarded": f"host={OTHER}",
    }
    async with world.get(headers=headers) as reply:
        seen = (await reply.text()).splitlines()
    assert seen[0] == f"GET {BASE}/x"
    assert f"Host: {OTHER}.example" in seen, "Jupyter holds the origin against it"


async def test_no_key_of_fetchml_is_handed_on(world: World) -> None:
    await world.jupyter(echo)
    headers = {
        "X-API-Key": world.secret,
        "Authorization": f"token {TOKEN}",
        "Cookie": "_xsrf=1",
        "Connection": "X-Secret, keep-alive",
        "X-Secret": "1",
        "TE": "trailers",
        "Proxy-Authorization": "Basic x",
        "Sec-WebSocket-Protocol": f"fetchml.key.{world.secret}",
        "X-Kept": "1",
    }
    async with world.get(headers=headers) as reply:
        seen = await reply.text()
    assert world.secret not in seen
    names = {line.partition(":")[0].lower() for line in seen.splitlines()[1:]}
    assert {"authorization", "cookie", "x-kept", "host"} <= names
    gone = {"x-api-key", "x-secret", "te", "proxy-authorization", "sec-websocket-protocol"}
    assert not gone & names


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_arrive(world: World, method: str, chunked: bool) -> None:
    async def add(request: web.BaseRequest) -> web.Response:
        text = f"{request.method} {request.content_length}"
        return web.Response(status=201, body=text.encode() + b" " + await request.read())

    await world.jupyter(add)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    async with world.ask(method, f"{BASE}/x", data=pieces() if chunked else b"abc") as reply:
        length = None if chunked else 3
        assert (reply.status, await reply.text()) == (201, f"{method} {length} abc")


async def test_a_body_may_wait_to_be_wanted(world: World) -> None:
    async def size(request: web.BaseRequest) -> web.Response:
        assert "Expect" not in request.headers
        return web.Response(text=str(len(await request.read())))

    await world.jupyter(size)
    async with world.ask("PUT", f"{BASE}/x", data=b"x" * 1000, expect100=True) as reply:
        assert await reply.text() == "1000"


async def test_bodies_pass_piece_by_piece(world: World) -> None:
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
        async with asyncio.timeout(5):
            assert await got.get() == piece
            await reader.readuntil(piece.upper())
    writer.write(b"0\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"0\r\n\r\n")
    writer.close()


async def test_a_client_that_takes_nothing_holds_jupyter_back_and_is_let_go(
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
        await until(over)
        assert 0 < written < 32 << 20, "what sockets take, and no more"
        writer.close()


async def test_a_jupyter_that_takes_nothing_holds_the_client_back(tmp_path: Path) -> None:
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
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert (await reader.readline())[:13] in (b"HTTP/1.1 503 ", b"")
        sending.cancel()
        writer.transport.abort()
        over.set()
        assert 0 < taken < 32 << 20


async def test_an_upload_that_stops_is_let_go(tmp_path: Path) -> None:
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
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        await until(cut)
        writer.close()


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
    await until(asked)
    writer.transport.abort()
    await until(ended)


async def test_a_client_that_leaves_in_its_upload_makes_no_whole_body(world: World) -> None:
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
    await until(begun)
    writer.transport.abort()
    async with asyncio.timeout(5):
        assert (await got).endswith(b"3\r\nabc\r\n"), "the last, empty piece is missing"


async def test_one_that_hangs_is_given_up(tmp_path: Path) -> None:
    async def hang(request: web.BaseRequest) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with proxy_world(tmp_path, HttpTimeouts(jupyter_answer=0.2)) as world:
        await world.jupyter(hang)
        async with world.get() as reply:
            assert reply.status == 503
            assert (await reply.json())["code"] == "SERVICE_UNAVAILABLE"


async def test_one_that_is_gone(world: World) -> None:
    await world.jupyter(echo)
    world.services.links[ID].close()
    async with world.get() as reply:
        assert (reply.status, (await reply.json())["error"]) == (503, "Jupyter does not answer")


COOKIES = [
    (f"a=1; Path={BASE}/", True),
    (f"a=1; path={BASE}; HttpOnly", True),
    (f"a=1; Path={BASE}/api", True),
    ("a=1", True),
    ("a=1; Path=", True),
    ("a=1; Path=/", False),
    ("a=1; Path=/jupyter", False),
    (f"a=1; Path=/jupyter/{OTHER}/", False),
    (f"a=1; Path={BASE}x/", False),
    (f"a=1; Path={BASE}/; Path=/", False),
    (f"a=1; Path={BASE}/; Domain=example.org", False),
]


async def test_what_jupyter_says_holds_for_its_own_pages(world: World) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        reply = web.Response(status=404, text="none")
        for name in (
            "Service-Worker-Allowed",
            "Clear-Site-Data",
            "Strict-Transport-Security",
            "Alt-Svc",
            "Proxy-Authenticate",
            "X-Dropped",
        ):
            reply.headers[name] = "1"
        reply.headers["Connection"] = "X-Dropped"
        reply.headers["X-Kept"] = "1"
        reply.headers["Server"] = "TornadoServer"
        for cookie, _ in COOKIES:
            reply.headers.add("Set-Cookie", cookie)
        return reply

    await world.jupyter(answer)
    async with world.get() as reply:
        assert (reply.status, await reply.text()) == (404, "none")
        assert reply.headers.getall("Set-Cookie") == [cookie for cookie, kept in COOKIES if kept]
        # Proxies write names in small letters.
        assert {name.title() for name in reply.headers} == {
            "Content-Type",
            "Content-Length",
            "Date",
            "Server",
            "Set-Cookie",
            "X-Kept",
        }
        assert reply.headers["Server"] == "fetchml"


@pytest.mark.parametrize("status", [204, 304])
async def test_replies_without_a_body(world: World, status: int) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers={"ETag": '"1"'})

    await world.jupyter(answer)
    async with world.get() as reply:
        assert (reply.status, reply.headers["ETag"], await reply.read()) == (status, '"1"', b"")


async def test_it_follows_no_redirect_itself(world: World) -> None:
    async def send_on(request: web.BaseRequest) -> web.Response:
        assert request.raw_path == f"{BASE}/x"
        return web.Response(status=302, headers={"Location": "http://169.254.169.254/y"})

    await world.jupyter(send_on)
    async with world.get() as reply:
        assert (reply.status, reply.headers["Location"]) == (302, "http://169.254.169.254/y")


async def test_head(world: World) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"x" * 1000)

    await world.jupyter(answer)
    async with world.ask("HEAD", f"{BASE}/x") as reply:
        assert (reply.headers["Content-Length"], await reply.read()) == ("1000", b"")


async def test_packed_replies_stay_packed(world: World) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.headers["Accept-Encoding"] == "gzip, br"
        return web.Response(body=gzip.compress(b"abc"), headers={"Content-Encoding": "gzip"})

    await world.jupyter(answer)
    async with world.get(headers={"Accept-Encoding": "gzip, br"}) as reply:
        assert gzip.decompress(await reply.read()) == b"abc"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND"])
async def test_other_methods(world: World, method: str) -> None:
    await world.jupyter(echo)
    reply = await world.raw(
        f"{method} {BASE}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert reply.split()[1] in (b"400", b"404", b"405")


async def test_the_slash_is_added(world: World) -> None:
    await world.jupyter(echo)
    async with world.get(f"{BASE}?token=a%20b") as reply:
        assert (reply.status, reply.headers["Location"]) == (307, f"{BASE}/?token=a%20b")


async def test_an_unknown_id_can_not_be_guessed_fast(tmp_path: Path) -> None:
    async with proxy_world(tmp_path, limiter=RateLimiter(1, 1)) as world:
        await world.jupyter(echo)
        seen = set[int]()
        for _ in range(100):
            async with world.get(f"/jupyter/{OTHER}/") as reply:
                seen.add(reply.status)
                body = await reply.json()
        assert seen == {404, 429}
        assert body["code"] == "RATE_LIMITED"
        async with world.get() as reply:
            assert reply.status == 200, "a known one is not in the way"


async def test_one_that_starts(world: World) -> None:
    why = "preparing: pulling <image>"
    world.services.states[ID] = JupyterState(ServiceStatus.STARTING, why, None)
    async with world.get(f"{BASE}/lab?token=secret", headers={"Accept": "text/html"}) as reply:
        page = await reply.text()
        assert (reply.status, reply.content_type) == (503, "text/html")
        assert reply.headers["Cache-Control"] == "no-store"
    assert "pulling &lt;image&gt;" in page
    assert 'http-equiv="refresh"' in page
    assert "secret" not in page
    async with world.get(f"{BASE}/api/status") as reply:
        assert (reply.status, (await reply.json())["code"]) == (503, "SERVICE_UNAVAILABLE")


async def test_one_that_has_ended(world: World) -> None:
    world.services.states[ID] = JupyterState(ServiceStatus.ERROR, "Jupyter has ended", None)
    async with world.get(f"{BASE}/lab", headers={"Accept": "text/html"}) as reply:
        page = await reply.text()
        assert reply.status == 404
    assert "Jupyter has ended" in page
    assert "fetchml jupyter start" in page
    assert "refresh" not in page
    async with world.get(f"{BASE}/lab") as reply:
        assert (reply.status, (await reply.json())["code"]) == (404, "NOT_FOUND")
    async with world.get(f"{BASE}/.fetchml/notice") as reply:
        assert reply.status == 404


async def test_no_more_at_once_than_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "AT_ONCE", 2)
    go, asked = asyncio.Event(), asyncio.Semaphore(0)

    async def wait(request: web.BaseRequest) -> web.Response:
        asked.release()
        await go.wait()
        return web.Response()

    async with proxy_world(tmp_path) as world:
        await world.jupyter(wait)
        await world.jupyter(echo, OTHER)
        held = [asyncio.ensure_future(world.get()) for _ in range(2)]
        for _ in held:
            await asked.acquire()
        async with world.get() as reply:
            assert (reply.status, (await reply.json())["code"]) == (503, "SERVICE_UNAVAILABLE")
        async with world.get(f"/jupyter/{OTHER}/") as reply:
            assert reply.status == 200
        go.set()
        for reply in await asyncio.gather(*held):
            assert reply.status == 200
            reply.release()
        async with world.get() as reply:
            assert reply.status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "is_use"),
    [
        ("PUT", "/api/contents/a.ipynb", 200, True),
        ("POST", "/api/contents", 201, True),
        ("PATCH", "/api/sessions/1", 200, True),
        ("DELETE", "/api/kernels/1", 204, True),
        ("POST", "/api/terminals", 200, True),
        ("GET", "/api/contents/a.ipynb", 200, False),
        ("PUT", "/api/contents/a.ipynb", 403, False),
        ("POST", "/api/kernels", 500, False),
        ("PUT", "/lab/api/workspaces/default", 204, False),
        ("POST", "/git/status", 200, False),
        ("POST", "/api/contentsx", 200, False),
    ],
)
async def test_only_what_people_change_is_use(
    world: World, method: str, path: str, status: int, is_use: bool
) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    await world.jupyter(answer)
    async with world.ask(method, BASE + path) as reply:
        assert reply.status == status
    assert world.services.used == [ID] * is_use


PAGE = b"<!doctype html><html><HEAD><title>a</title></Head><body></head></body></html>"
SCRIPT = f'<script src="{BASE}/.fetchml/notice.js" defer></script>'.encode()


async def test_its_pages_carry_the_notice(world: World) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=PAGE, content_type="text/html", headers={"X-Kept": "1"})

    await world.jupyter(answer)
    for path in ("/lab", "/lab/tree/a.ipynb", "/lab/workspaces/auto-1?reset", "/tree"):
        async with world.get(BASE + path, headers={"Accept-Encoding": "gzip"}) as reply:
            body = await reply.read()
            assert reply.headers["X-Kept"] == "1"
        assert body == PAGE.replace(b"</Head>", SCRIPT + b"</Head>")


LARGE = PAGE + b" " * proxy.MAX_PAGE_BYTES


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/files/a.html", PAGE, {}),
        ("/labyrinth", PAGE, {}),
        ("/lab", LARGE, {}),
        ("/lab", LARGE, {"Transfer-Encoding": "chunked"}),
        ("/lab", gzip.compress(PAGE, mtime=0), {"Content-Encoding": "gzip"}),
        ("/lab", PAGE, {"Content-Type": "text/plain"}),
        ("/lab", b"<body>no head", {}),
    ],
)
async def test_what_is_no_page_of_its_own_stays_as_it_is(
    world: World, path: str, body: bytes, headers: dict[str, str]
) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if "Transfer-Encoding" not in headers:
            return web.Response(body=body, headers={"Content-Type": "text/html", **headers})
        reply = web.StreamResponse(headers={"Content-Type": "text/html"})
        await reply.prepare(request)
        await reply.write(body)
        return reply

    await world.jupyter(answer)
    async with world.get(BASE + path) as reply:
        assert await reply.read() == body


async def test_the_notice_is_told_when_it_stops_and_no_more(world: World) -> None:
    await world.jupyter(echo)
    async with world.get(f"{BASE}/.fetchml/notice") as reply:
        assert await reply.json() == {}
    world.services.states[ID] = JupyterState(ServiceStatus.RUNNING, "a reason", 1_760_000_000_000)
    async with world.get(f"{BASE}/.fetchml/notice") as reply:
        assert await reply.json() == {"stops_at": "2025-10-09T08:53:20.000Z"}
    async with world.get(f"{BASE}/.fetchml/notice.js") as reply:
        assert (reply.status, reply.content_type) == (200, "text/javascript")
    async with world.get(f"{BASE}/.fetchml/other") as reply:
        assert reply.status == 404


async def test_no_token_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await world.jupyter(echo)
    for path in (f"{BASE}/lab?token={TOKEN}", f"/jupyter/{OTHER}/lab?token={TOKEN}"):
        async with world.get(path) as reply:
            await reply.read()
    world.services.links[ID].close()
    async with world.get(f"{BASE}/lab?token={TOKEN}") as reply:
        assert reply.status == 503
    ours = [record for record in caplog.records if record.name.startswith("fetchml")]
    assert ours
    assert not any(TOKEN in record.getMessage() for record in ours)
