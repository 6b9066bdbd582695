"""Signing in to the page, as people do."""

from playwright.async_api import Page, expect

from tests.support.program import ADMIN_KEY, Server
from tests.support.tab import Tab


async def sign_in(tab: Tab, server: Server, key: str = ADMIN_KEY, at: str = "") -> Page:
    """Sign in with a key, and return the page, which is live and shows the overview, or what `at`
    names as in `visit`."""
    page = tab.page
    await page.goto(f"http://{server.http_address}/ui/")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    await expect(page.locator(".live")).to_have_text("Live")
    if at:
        await visit(page, server, at)
    return page


async def visit(page: Page, server: Server, path: str) -> None:
    """Open an address below `/ui/` as a link would: the session is in the cookie."""
    await page.goto(f"http://{server.http_address}/ui/{path}")
    await expect(page.locator(".live")).to_have_text("Live")
