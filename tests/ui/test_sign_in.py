"""Signing in with a real browser: what stays, what ends, and what another origin can do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Page, expect

from fetchml.core.model import Role
from fetchml.v1 import key_pb2
from tests.support.program import ADMIN_KEY, Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.tab import Tab
from tests.support.waiting import SECONDS, until
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

expect.set_options(timeout=SECONDS * 1000)


def address(server: Server, host: str = "localhost") -> str:
    return f"http://{host}:{server.http_address.rpartition(':')[2]}"


async def link(server: Server, host: str = "localhost") -> str:
    request = key_pb2.CreateSignInCodeRequest()
    made = await server.grpc.keys.CreateSignInCode(request, metadata=server.grpc.metadata)
    return f"{address(server, host)}/ui/#code={made.code}"


async def follow(tab: Tab, url: str, user: str = "admin") -> None:
    """Open a link with a code, and agree."""
    await tab.page.goto(url)
    question = tab.page.get_by_role("dialog", name=f"Sign in as {user} (")
    await question.get_by_role("button", name="Sign in").click()
    await signed_in(tab)


WHO = """async () => {
  const headers = {"X-FetchML-Session": localStorage.getItem("fetchml.session") ?? ""};
  return (await (await fetch("/ui/session", {headers})).json()).user ?? null;
}"""
"""Whom the session of a page belongs to."""


async def signed_out(page: Page) -> None:
    await expect(page.get_by_label("API key")).to_be_visible()


async def signed_in(tab: Tab) -> None:
    await expect(tab.page.get_by_role("navigation").first).to_be_visible()
    await expect(tab.page.get_by_label("API key")).to_have_count(0)


async def test_link_signs_in_and_a_reload_stays_signed_in(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    url = await link(server)
    await follow(opened, url)
    assert "code" not in opened.page.url
    await opened.page.reload()
    await signed_in(opened)
    (cookie,) = await opened.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    stored = await opened.page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    )
    assert cookie["value"] not in stored
    assert stored.count("fml_") == stored.count('"fetchml.session":"fml_session_') == 1
    # The link is used up: another browser gets nothing.
    other = await tab()
    await other.page.goto(url)
    await signed_out(other.page)
    await expect(other.page.get_by_text("was already used")).to_be_visible()


async def test_link_shows_its_account_and_asks(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    question = opened.page.get_by_role("dialog", name="Sign in as admin (admin)?")
    url = await link(server)
    await opened.page.goto(url)
    await expect(question).to_be_visible()
    assert await opened.context.cookies() == []
    assert await opened.page.evaluate(WHO) is None
    await opened.check_accessible()
    await question.get_by_role("button", name="Back").click()
    await signed_out(opened.page)
    assert await opened.page.evaluate(WHO) is None
    await opened.page.goto("about:blank")
    await follow(opened, url)  # To ask has not used it up.
    assert await opened.page.evaluate(WHO) == "admin"


async def test_link_asks_before_it_replaces_a_session(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    await opened.page.goto(address(server))
    await opened.page.get_by_label("API key").fill(await server.key("ada", Role.USER))
    await opened.page.keyboard.press("Enter")
    await signed_in(opened)
    question = opened.page.get_by_role("dialog", name="Sign in as admin (admin)?")
    for answer, user in (("Back", "ada"), ("Sign in", "admin")):
        await opened.page.goto("about:blank")
        await opened.page.goto(await link(server))
        await expect(question).to_contain_text("This ends the session of ada here.")
        assert await opened.page.evaluate(WHO) == "ada"
        await opened.check_accessible()
        await question.get_by_role("button", name=answer).click()
        await signed_in(opened)
        assert await opened.page.evaluate(WHO) == user


async def test_tabs_share_a_session_and_its_end(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    await follow(opened, await link(server))
    second = await opened.context.new_page()
    await second.goto(f"{address(server)}/ui/tasks")
    await expect(second.locator(".live")).to_have_text("Live")
    # A tab that signs in anew takes the others with it: none acts for the earlier user.
    key = await server.key("ada", Role.USER)
    made = await (await server.clients(key))[1].keys.CreateSignInCode(
        key_pb2.CreateSignInCodeRequest(), metadata=(("x-api-key", key),)
    )
    third = Tab(opened.context, await opened.context.new_page())
    await follow(third, f"{address(server)}/ui/#code={made.code}", "ada")
    for page in (opened.page, second):
        await expect(page.locator(".person-name")).to_contain_text("ada")
        await expect(page.locator(".live")).to_have_text("Live")
    await third.page.get_by_role("button", name="Sign out").click()
    for page in (opened.page, second, third.page):
        await signed_out(page)
        assert await page.evaluate("localStorage.getItem('fetchml.session')") is None


async def test_sign_in_clears_all_that_the_origin_stores_but_the_theme(
    server: Server, tab: OpenTab
) -> None:
    opened = await tab()
    await opened.page.goto(address(server))
    await signed_out(opened.page)
    await opened.page.evaluate(
        "localStorage.setItem('fetchml.theme', 'dark'); localStorage.setItem('left', 'behind')"
    )
    await opened.page.goto("about:blank")
    await follow(opened, await link(server))
    await opened.page.reload()
    await signed_in(opened)
    stored = await opened.page.evaluate("({...localStorage})")
    assert stored.pop("fetchml.session").startswith("fml_session_")
    assert stored == {"fetchml.theme": "dark"}
    assert await opened.page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize(("host", "stays"), [("localhost", True), ("gpu.example", False)])
async def test_key_signs_in(server: Server, tab: OpenTab, host: str, *, stays: bool) -> None:
    opened = await tab()
    await opened.page.goto(address(server, host))
    await opened.page.get_by_label("API key").fill(ADMIN_KEY)
    await opened.page.keyboard.press("Enter")
    await signed_in(opened)
    assert bool(await opened.context.cookies()) == stays
    await opened.page.reload()
    if stays:
        await signed_in(opened)
    else:
        await signed_out(opened.page)


async def test_revoked_key_signs_out(server: Server, tab: OpenTab) -> None:
    secret = await server.key("ada", Role.USER)
    opened = await tab()
    await opened.page.goto(address(server))
    await opened.page.get_by_label("API key").fill(secret)
    await opened.page.keyboard.press("Enter")
    await signed_in(opened)
    keys = await server.grpc.keys.ListKeys(key_pb2.ListKeysRequest(), metadata=server.grpc.metadata)
    (key_id,) = (key.id for key in keys.keys if key.name == "ada")
    await server.grpc.keys.RevokeKey(
        key_pb2.RevokeKeyRequest(key_id=key_id), metadata=server.grpc.metadata
    )
    await signed_out(opened.page)


@asynccontextmanager
async def foreign_page(host: str) -> AsyncIterator[str]:
    """The address of a page that a notebook could serve, at another port."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>evil</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


ATTACK = """async ([server, experiment]) => {
  const tried = [
    fetch(`${server}/v1/experiments/${experiment}/archive`,
          {method: "POST", mode: "no-cors", credentials: "include"}),
    fetch(`${server}/ui/session`, {method: "POST", mode: "no-cors", credentials: "include",
          headers: {"Content-Type": "text/plain"}, body: '{"key": "a"}'}),
    fetch(`${server}/ui/session`, {method: "DELETE", credentials: "include"}),
    fetch(`${server}/v1/tasks`, {credentials: "include"}).then((reply) => reply.text()),
    fetch(`${server}/v1/tasks`, {credentials: "include", headers: {"X-FetchML-Page": "1"}}),
    new Promise((done, failed) => {
      const socket = new WebSocket(server.replace("http", "ws") + "/ws", ["fetchml.v1"]);
      socket.onopen = () => done("open");
      socket.onerror = () => failed(new Error("refused"));
    }),
    new Promise((done, failed) => {
      const frame = document.createElement("iframe");
      frame.onload = () => { try { done(frame.contentDocument.body.innerHTML) }
                             catch (error) { failed(error) } };
      frame.src = `${server}/ui/`;
      document.body.append(frame);
    }),
  ];
  const found = await Promise.allSettled(tried);
  return found.map((each) => each.status === "fulfilled" ? String(each.value) : "refused");
}"""


@pytest.mark.parametrize(
    ("place", "host"),
    [
        ("localhost", "localhost"),
        ("localhost", "0198c0de-0000-7000-8000-000000000001.localhost"),
        # There browsers mark no request with Sec-Fetch-Site.
        ("gpu.example", "gpu.example"),
    ],
)
async def test_other_ports_and_services_cannot_use_the_cookie(
    serve: Serve, processes_backend: Backend, tab: OpenTab, place: str, host: str
) -> None:
    second = {} if place == "localhost" else {"FETCHML_JUPYTER_HTTP": "127.0.0.1:0"}
    server = await serve(processes_backend, **second).start()
    opened = await tab()
    await follow(opened, await link(server, place))
    assert len(await opened.context.cookies()) == 1
    made = await server.rest.submit({"name": "kept"}, "/v1/experiments")
    experiment = made.json["id"]
    before = (await server.rest.get(f"/v1/experiments/{experiment}?view=full")).json
    async with foreign_page(host) as evil:
        attacker = await opened.context.new_page()
        await attacker.goto(evil)
        found = await attacker.evaluate(ATTACK, [address(server, place), experiment])
        # The first two are answers that a page without permission to read sees as opaque.
        assert found[:2] == ["[object Response]", "[object Response]"]
        assert found[2:6] == ["refused"] * 4
        assert found[6] in ("refused", ""), "no other page can show this one in a frame"
    assert (await server.rest.get(f"/v1/experiments/{experiment}?view=full")).json == before
    await opened.page.reload()
    await signed_in(opened)
    opened.violations.clear()  # Its policy refused the frame.
    opened.errors.clear()


async def test_a_link_to_outputs_shows_nothing_that_runs(server: Server, tab: OpenTab) -> None:
    html = "<script>document.title = 'ran'</script>"
    task_id = await server.submit(f'echo "{html}" | tee $FETCHML_OUTPUTS/x.html')
    await server.ended(task_id)
    opened = await tab()
    await follow(opened, await link(server))
    for path in ("outputs/x.html", "logs", ""):
        found = await opened.page.evaluate(
            "async (path) => { const reply = await fetch(path, {headers: "
            "{'X-FetchML-Session': localStorage['fetchml.session']}}); return [reply.status, "
            "reply.headers.get('content-security-policy'), reply.headers.get('content-type')] }",
            f"/v1/tasks/{task_id}/{path}".removesuffix("/"),
        )
        assert found[0] == 200
        assert "sandbox" in found[1]
        assert "html" not in found[2]


@pytest.mark.parametrize("host", ["localhost", "gpu.example"])
async def test_browser_saves_a_download_with_a_ticket(
    server: Server, tab: OpenTab, host: str
) -> None:
    name = "a b%2F?&ü.txt"
    task_id = await server.submit(f'echo data >"$FETCHML_OUTPUTS/{name}"')
    await server.ended(task_id)
    opened = await tab()
    page = opened.page
    await follow(opened, f"{await link(server, host)}")
    await page.get_by_role("link", name="Tasks", exact=True).click()
    await page.locator(".task-link").first.click()
    await page.get_by_role("link", name="Outputs").click()
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name=f"Download {name}").click()
    download = await waiting.value
    assert (await download.path()).read_text() == "data\n"
    # Its address is worth nothing any more.
    again = await page.evaluate("(url) => fetch(url).then((reply) => reply.status)", download.url)
    assert "fetchml-ticket=fml_ticket_" in download.url
    assert again == 401


async def test_signing_out_ends_the_session(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    await follow(opened, await link(server))
    status = await opened.page.evaluate(
        "fetch('/ui/session', {method: 'DELETE', headers: "
        "{'X-FetchML-Session': localStorage['fetchml.session']}}).then((reply) => reply.status)"
    )
    assert status == 204
    await signed_out(opened.page)

    async def cookies() -> int:
        return len(await opened.context.cookies())

    await until(cookies, lambda count: count == 0)
