"""Replies of a Jupyter service, as browsers receive them."""

import asyncio
import gzip
from pathlib import Path

import pytest
from aiohttp import web

from fetchml.api.rest.server import HttpTimeouts
from tests.jupyter.proxy_world import BASE, ID, OTHER, World, echo, proxy_world
from tests.support.front import EDGE


async def test_a_hanging_jupyter_is_unavailable(tmp_path: Path) -> None:
    async def hang(request: web.BaseRequest) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with proxy_world(tmp_path, HttpTimeouts(jupyter_answer=0.2)) as world:
        await world.jupyter(hang)
        async with world.get() as reply:
            assert reply.status == 503
            assert (await reply.json())["code"] == "SERVICE_UNAVAILABLE"


async def test_a_gone_jupyter_is_unavailable(world: World) -> None:
    await world.jupyter(echo)
    world.services.links[ID].close()
    async with world.get() as reply:
        assert (reply.status, (await reply.json())["error"]) == (503, "Jupyter does not respond")


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


async def test_headers_of_replies_bind_only_the_service_s_own_pages(world: World) -> None:
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
            "Cache-Control",
            "Content-Type",
            "Content-Length",
            "Date",
            "Server",
            "Set-Cookie",
            "X-Kept",
        }
        assert reply.headers["Server"] == "fetchml"


@pytest.mark.parametrize("status", [204, 304])
async def test_replies_without_a_body_are_forwarded(world: World, status: int) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers={"ETag": '"1"'})

    await world.jupyter(answer)
    async with world.get() as reply:
        assert (reply.status, reply.headers["ETag"], await reply.read()) == (status, '"1"', b"")


@pytest.mark.fronts(EDGE)
async def test_redirects_are_forwarded_and_not_followed(world: World) -> None:
    async def send_on(request: web.BaseRequest) -> web.Response:
        assert request.raw_path == f"{BASE}/x"
        return web.Response(status=302, headers={"Location": "http://169.254.169.254/y"})

    await world.jupyter(send_on)
    async with world.get() as reply:
        assert (reply.status, reply.headers["Location"]) == (302, "http://169.254.169.254/y")


async def test_head_is_forwarded(world: World) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"x" * 1000)

    await world.jupyter(answer)
    async with world.ask("HEAD", f"{BASE}/x") as reply:
        assert (reply.headers["Content-Length"], await reply.read()) == ("1000", b"")


@pytest.mark.fronts(EDGE)
async def test_compressed_replies_stay_compressed(world: World) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.headers["Accept-Encoding"] == "gzip, br"
        return web.Response(body=gzip.compress(b"abc"), headers={"Content-Encoding": "gzip"})

    await world.jupyter(answer)
    async with world.get(headers={"Accept-Encoding": "gzip, br"}) as reply:
        assert gzip.decompress(await reply.read()) == b"abc"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND"])
async def test_other_methods_are_rejected(world: World, method: str) -> None:
    await world.jupyter(echo)
    reply = await world.raw(
        f"{method} {BASE}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert reply.split()[1] in (b"400", b"404", b"405")


async def test_an_address_without_its_slash_is_redirected(world: World) -> None:
    await world.jupyter(echo)
    async with world.get(f"{BASE}?token=a%20b") as reply:
        assert (reply.status, reply.headers["Location"]) == (307, f"{BASE}/?token=a%20b")
