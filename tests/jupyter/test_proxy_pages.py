"""Pages and limits of Jupyter services: unknown, starting, ended, used."""

import asyncio
import gzip
import logging
from pathlib import Path

import pytest
from aiohttp import web

from fetchml.api.proxy import upstream, visitors
from fetchml.auth.limits import RateLimiter
from fetchml.core.jupyter import ServiceStatus
from fetchml.views import JupyterState
from tests.jupyter.proxy_world import BASE, ID, OTHER, TOKEN, World, echo, proxy_world


async def test_guesses_of_ids_are_rate_limited(tmp_path: Path) -> None:
    async with proxy_world(tmp_path, limiter=RateLimiter(0.001, 1)) as world:
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


async def test_a_starting_service_shows_a_page_that_reloads(world: World) -> None:
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


async def test_an_ended_service_shows_the_reason(world: World) -> None:
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


async def test_open_exchanges_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "OPEN_BY_SERVICE", 2)
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
async def test_only_changes_by_people_count_as_use(
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


async def test_html_pages_carry_the_notice(world: World) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=PAGE, content_type="text/html", headers={"X-Kept": "1"})

    await world.jupyter(answer)
    for path in ("/lab", "/lab/tree/a.ipynb", "/lab/workspaces/auto-1?reset", "/tree"):
        async with world.get(BASE + path, headers={"Accept-Encoding": "gzip"}) as reply:
            body = await reply.read()
            assert reply.headers["X-Kept"] == "1"
        assert body == PAGE.replace(b"</Head>", SCRIPT + b"</Head>")


LARGE = PAGE + b" " * upstream.MAX_PAGE_BYTES


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
async def test_other_replies_stay_unchanged(
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


async def test_the_notice_learns_only_when_the_service_stops(world: World) -> None:
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


async def test_the_log_holds_no_token(world: World, caplog: pytest.LogCaptureFixture) -> None:
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
