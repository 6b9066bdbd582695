"""Requests to a Jupyter service: where they lead, and what they carry."""

import pytest
from aiohttp import web

from tests.jupyter.proxy_world import BASE, ID, OTHER, TOKEN, World, echo
from tests.support.front import EDGE


@pytest.mark.fronts(EDGE)
async def test_path_and_query_are_forwarded_unchanged(world: World) -> None:
    await world.jupyter(echo)
    for path in [
        "/",
        "/lab?token=a%20b+c&x=%2F",
        "/files/a%20b/%C3%BC.ipynb?download=1",
        "/files/100%25/%7e~",
        "/a%2Fb",
        "/a//b/",
        "/api/contents/..%2ehidden?x=../..",
        "/files/...",
    ]:
        async with world.get(BASE + path) as reply:
            assert reply.status == 200
            assert (await reply.text()).splitlines()[0] == f"GET {BASE}{path}"


@pytest.mark.slow
@pytest.mark.fronts(EDGE)
async def test_no_path_leads_out_of_the_service(world: World) -> None:
    await leads_nowhere(
        world,
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
    )


async def test_no_absolute_address_leads_out_of_the_service(world: World) -> None:
    await leads_nowhere(world, f"http://{OTHER}/jupyter/{ID}/x")


async def leads_nowhere(world: World, *paths: str) -> None:
    asked: list[str] = []

    async def note(request: web.BaseRequest) -> web.Response:
        asked.append(request.raw_path)
        return web.Response()

    await world.jupyter(note)
    await world.jupyter(note, OTHER)
    for path in paths:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        reply = await world.raw(request.encode())
        assert reply.split()[1] in (b"400", b"404"), path
        assert asked == [], path


@pytest.mark.fronts(EDGE)
async def test_headers_do_not_choose_another_service(world: World) -> None:
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


async def test_keys_of_fetchml_are_not_forwarded(world: World) -> None:
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
