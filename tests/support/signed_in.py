"""Signed in to the page: what each test of a view begins with."""

import json

from playwright.async_api import Page, expect

from tests.support.program import ADMIN_KEY, Server
from tests.support.tab import Tab

KEPT = "if (location.origin === {origin}) localStorage.setItem('fetchml.session', {token})"


async def sign_in(tab: Tab, server: Server, key: str = ADMIN_KEY, at: str = "") -> Page:
    """Open a view with the session that a key is exchanged for: `at` names it as in `visit`.

    The form of the page asks for the key in tests/ui/test_sign_in.py; here it would cost every test
    another load of the page, with an empty cache.
    """
    origin = f"http://{server.http_address}"
    reply = await tab.context.request.post(
        f"{origin}/ui/session",
        data={"key": key},
        headers={"Origin": origin, "Sec-Fetch-Site": "same-origin"},
    )
    assert reply.status == 201, await reply.text()
    session = json.dumps((await reply.json())["token"])
    await tab.page.add_init_script(KEPT.format(origin=json.dumps(origin), token=session))
    await visit(tab.page, server, at)
    return tab.page


async def visit(page: Page, server: Server, path: str) -> None:
    """Open an address below `/ui/` as a link would: the session is in the cookie."""
    await page.goto(f"http://{server.http_address}/ui/{path}")
    await expect(page.locator(".live")).to_have_text("Live")
