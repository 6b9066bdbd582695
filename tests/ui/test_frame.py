"""The page loads in a real browser, under its policy, and the fixtures notice what must not be."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.program import Backend, Server
from tests.support.tab import PHONE, open_tab
from tests.support.waiting import until_true
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One for all: nobody changes anything on it."""
    backend = Backend({"FETCHML_LAUNCHER": "process"}, lambda: ())
    server = await Server(tmp_path_factory.mktemp("frame") / "data", backend).start()
    yield server
    await server.close()


async def test_page_loads(server: Server, tab: OpenTab) -> None:
    opened = await tab(PHONE, dark=True)
    await opened.page.goto(f"http://{server.http_address}/")
    assert opened.page.url == f"http://{server.http_address}/ui/"
    await opened.page.get_by_role("heading", level=1).wait_for()
    await opened.check_accessible()


async def noticed(browser: Browser, server: Server, script: str) -> None:
    """Run a script that the page would not run, until its tab has noticed."""
    async with open_tab(browser) as opened:
        await opened.page.goto(f"http://{server.http_address}/ui/")
        await opened.page.evaluate(script)
        await until_true(lambda: opened.violations or opened.executed or opened.errors)


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("document.body.setAttribute('style', 'color: red')", "style-src-attr"),
        ("try { document.body.innerHTML = '<b>x</b>' } catch {}", "trusted-types"),
        ("executed('planted')", "planted"),
        ("setTimeout(() => { throw new Error('lost') })", "lost"),
    ],
)
async def test_tab_notices(server: Server, browser: Browser, script: str, what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        await noticed(browser, server, script)


async def test_colours_follow_the_system(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    await opened.page.goto(f"http://{server.http_address}/")
    await opened.page.locator("html[data-theme=light]").wait_for()
    await opened.page.emulate_media(color_scheme="dark")
    await opened.page.locator("html[data-theme=dark]").wait_for()
