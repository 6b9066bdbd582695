"""Visitors of a service: what is forwarded of their requests, their limits, and what they learn."""

import asyncio
import hmac
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from fetchml.api.proxy import upstream, visitors
from tests.jupyter.proxy_world import BASE, ID, OTHER, TOKEN, World, echo, proxy_world
from tests.support.waiting import SECONDS

PROOF = hmac.digest(TOKEN.encode(), f"visitor {ID}".encode(), "sha256").hex()
VISITOR = f"fetchml-visitor-{ID}={PROOF}"
LOGIN = f"jupyter-{ID}"


async def seen(world: World, **headers: str) -> dict[str, str]:
    """The headers that Jupyter gets to see."""
    async with world.get(headers=headers) as reply:
        lines = (await reply.text()).splitlines()[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


async def test_cookies_of_others_are_not_forwarded(world: World) -> None:
    await world.jupyter(echo)
    for sent, kept in [
        ("_xsrf=2|a; session=secret", "_xsrf=2|a"),
        (f"{LOGIN}=a", f"{LOGIN}=a"),
        (f"jupyter-{OTHER}=a", None),
        # Jupyter's own name for it, of this host and port only.
        ("username-x-9101=a; username-x-8888=b", "username-x-9101=a"),
        # That of the longest path comes first: another's is for the whole host.
        ("_xsrf=ours; _xsrf=of-another-site", "_xsrf=ours"),
        (VISITOR, None),
        ("a; =b; __Host-session=1;;", None),
        (f"{LOGIN.upper()}=a", None),
    ]:
        assert (await seen(world, Cookie=sent, Host="x:9101")).get("cookie") == kept


async def test_credentials_of_others_are_not_forwarded(world: World) -> None:
    await world.jupyter(echo)
    for sent, kept in [
        (f"token {TOKEN}", f"token {TOKEN}"),
        (f"Bearer {TOKEN}", f"token {TOKEN}"),
        ("token of-another-jupyter", None),
        ("Bearer fml_a-key-of-fetchml", None),
        (f"Basic {TOKEN}", None),
        ("Negotiate x", None),
    ]:
        assert (await seen(world, Authorization=sent)).get("authorization") == kept


async def test_proxy_headers_and_foreign_referers_are_not_forwarded(world: World) -> None:
    await world.jupyter(echo)
    names = (
        "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP",
        "X-Envoy-External-Address", "X-Original-URL", "X-Rewrite-URL", "True-Client-IP",
        "CF-Connecting-IP", "X-HTTP-Method-Override",
    )  # fmt: skip
    headers = await seen(world, **dict.fromkeys(names, "1"), Referer=f"http://x{BASE}/lab?a")
    assert not {name.lower() for name in names} & headers.keys()
    assert headers["referer"] == f"http://x{BASE}/lab?a"
    for referer in (f"http://x/jupyter/{OTHER}/lab?token=secret", f"http://x/?{BASE}/"):
        assert "referer" not in await seen(world, Referer=referer)


@pytest.mark.parametrize(
    "cookie",
    ["=__Host-a=1", "__Host-a", "", "__Host-a=1; Path=/", f"__Secure-a=1; Path={BASE}/",
     f"fetchml-visitor-{ID}=x", "FetchML=1", "a b=1", f"a=1; Path={BASE}/; domain=x"],
)  # fmt: skip
async def test_a_cookie_is_bound_to_its_service(world: World, cookie: str) -> None:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(headers={"Set-Cookie": cookie})

    await world.jupyter(answer)
    async with world.get() as reply:
        assert reply.status == 200
        assert "Set-Cookie" not in reply.headers


async def test_the_link_with_the_token_makes_a_visitor_known(world: World) -> None:
    await world.jupyter(echo)
    stranger = {"Authorization": ""}
    async with world.get(f"{BASE}/lab?token={TOKEN}", headers=stranger) as reply:
        cookie = reply.headers["Set-Cookie"]
    assert cookie == f"{VISITOR}; Path={BASE}/; HttpOnly; SameSite=Lax"
    for path, headers in (
        (f"{BASE}/lab?token={TOKEN}", {**stranger, "Cookie": VISITOR}),
        (f"{BASE}/lab?token=wrong", stranger),
        (f"{BASE}/lab", stranger),
        (f"{BASE}/lab", {}),
    ):
        async with world.get(path, headers=headers) as reply:
            assert "Set-Cookie" not in reply.headers


async def test_a_visitor_whom_jupyter_accepts_is_known(world: World) -> None:
    async def login(request: web.BaseRequest) -> web.Response:
        right = await request.read() == b"password=right"
        headers = {"Set-Cookie": f"{LOGIN}=x; Path={BASE}/"} if right else {}
        return web.Response(
            status=302 if right or request.method == "POST" else 200, headers=headers
        )

    await world.jupyter(login)
    stranger = {"Authorization": ""}
    for method, path, data, headers, known in (
        ("POST", "/login", b"password=right", {}, True),
        ("POST", "/login", b"password=wrong", {}, False),
        ("GET", "/login", None, {"Cookie": f"{LOGIN}=x"}, False),
        ("GET", "/lab", None, {"Cookie": f"{LOGIN}=x"}, True),
        ("GET", "/lab", None, {}, False),
    ):
        async with world.ask(
            method, BASE + path, data=data, headers={**stranger, **headers}
        ) as reply:
            given = reply.headers.getall("Set-Cookie", [])
        assert any(cookie.startswith(VISITOR) for cookie in given) is known, (method, path)


async def test_strangers_have_a_small_limit_of_their_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, asked = asyncio.Event(), asyncio.Semaphore(0)

    async def wait(_: web.BaseRequest) -> web.Response:
        asked.release()
        await go.wait()
        return web.Response()

    await world.jupyter(wait)
    stranger = {"Authorization": ""}
    most = visitors.ANONYMOUS_BY_ADDRESS
    async with AsyncExitStack() as stack:
        held = [asyncio.ensure_future(world.get(headers=stranger)) for _ in range(most)]
        for _ in held:
            await asked.acquire()
        async with world.get(headers=stranger) as reply:
            assert (reply.status, (await reply.json())["code"]) == (429, "RATE_LIMITED")
        known = asyncio.ensure_future(world.get(headers={**stranger, "Cookie": VISITOR}))
        await asked.acquire()
        go.set()
        for each in (*held, known):
            reply = await stack.enter_async_context(await_(each))
            assert reply.status == 200


class await_:  # noqa: N801 - reads as a word
    def __init__(self, asked: "asyncio.Future[aiohttp.ClientResponse]") -> None:
        self._asked = asked

    async def __aenter__(self) -> aiohttp.ClientResponse:
        return await self._asked

    async def __aexit__(self, *_: object) -> None:
        (await self._asked).release()


async def test_bodies_of_strangers_are_limited_in_size_and_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.jupyter(echo)
    stranger = {"Authorization": ""}
    large = bytes(upstream.ANONYMOUS_BODY_BYTES + 1)
    async with world.ask("POST", f"{BASE}/login", data=large, headers=stranger) as reply:
        assert reply.status == 413
    monkeypatch.setattr(upstream, "ANONYMOUS_BODY_SECONDS", 0.1)
    reader, writer = await world.connect()
    writer.write(f"POST {BASE}/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na".encode())
    async with asyncio.timeout(SECONDS):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_private_service_is_unknown_to_strangers(tmp_path: Path) -> None:
    async with proxy_world(tmp_path, private=True) as world:
        await world.jupyter(echo)

        async def learned(path: str, **headers: str) -> tuple[int, object, object]:
            headers = {"Authorization": "", "Accept": "text/html", **headers}
            async with world.get(path, headers=headers) as reply:
                body = await reply.json() if reply.status == 404 else {}
                body.pop("trace_id", None)
                return reply.status, body, {*reply.headers} - {"Date"}

        for path in ("", "/", "/lab", "/login", "/lab?token=wrong", "/.fetchml/notice.js"):
            known, unknown = await learned(BASE + path), await learned(f"/jupyter/{OTHER}{path}")
            assert known == unknown
            assert known[0] == 404
        assert world.services.states_read == 0, "finding out how it is takes time"
        assert (await learned(f"{BASE}/lab?token={TOKEN}"))[0] == 200
        assert (await learned(f"{BASE}/lab", Cookie=VISITOR))[0] == 200
        del world.services.links[ID]
        assert (await learned(f"{BASE}/lab"))[0] == 404, "its state is no strangers' business"
        assert (await learned(f"{BASE}/lab", Cookie=VISITOR))[0] == 503
