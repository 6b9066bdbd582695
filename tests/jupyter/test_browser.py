"""What people do: open the link that the command prints, and work in the page."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.jupyter.browser import ENTER, SHIFT, Browser, chromium
from tests.jupyter.image import NAME
from tests.jupyter.service import Serve, Service
from tests.support.cli_server import run
from tests.support.program import ADMIN_KEY, Backend, Server

pytestmark = pytest.mark.slow

NOTICE = (
    "const bar = document.querySelector('#fetchml-notice');"
    "return bar && !bar.hidden && bar.textContent"
)
SCREENSHOTS = os.environ.get("FETCHML_TEST_SCREENSHOTS")
"""A folder for screenshots."""


async def printed_link(server: Server) -> str:
    variables = {"FETCHML_SERVER": server.grpc_address, "FETCHML_API_KEY": ADMIN_KEY}
    ran = await asyncio.to_thread(
        lambda: run("jupyter", "start", "--name", "thesis", "--image", NAME, **variables)
    )
    return next(word for word in ran.succeeded().split() if "/lab?token=" in word)


async def look_again(browser: Browser) -> None:
    """The page checks once a minute, and when it becomes visible again."""
    await browser.run("document.dispatchEvent(new Event('visibilitychange'))")


async def test_a_cell_runs_in_a_browser(
    serve: Serve, jupyter_backend: Backend, tmp_path: Path
) -> None:
    server = await serve(jupyter_backend, FETCHML_JUPYTER_IDLE_SECONDS="16")
    async with chromium(tmp_path) as browser:
        link = await printed_link(server)
        started = (await server.rest.get("/v1/jupyter/services")).json[0]
        service = Service(server, started)
        async with service.in_use():
            await browser.open(link)
            await browser.click('.jp-LauncherCard[data-category="Notebook"]')
            await browser.click(".jp-Notebook .jp-Cell .cm-content")
            await browser.type("6*7")
            await browser.until(
                "return document.querySelector('.jp-Notebook .cm-content').textContent === '6*7'"
            )
            # Before it has its kernel, the page would run nothing.
            await browser.until("return document.body.textContent.includes('(ipykernel) | Idle')")
            await browser.press(SHIFT, ENTER)
            shown = await browser.until(
                "const at = document.querySelector('.jp-OutputArea-output pre');"
                "return at && at.textContent.trim()"
            )
            assert shown == "42"
        assert not await browser.run(NOTICE)

        await service.until_shown(lambda shown: "stops_at" in shown)
        await look_again(browser)
        notice = await browser.until(NOTICE)
        assert "Nothing has run" in notice
        assert "Run a cell to keep it" in notice
        if SCREENSHOTS:
            await browser.run("document.querySelector('.Toastify')?.remove()")
            await browser.screenshot(Path(SCREENSHOTS, "jupyter.png"))

        await browser.click(".jp-Notebook .jp-Cell .cm-content")
        await browser.press(SHIFT, ENTER)
        await service.until_shown(lambda shown: "stops_at" not in shown)
        await look_again(browser)
        await browser.until("return document.querySelector('#fetchml-notice').hidden")

        await service.stop()
        await service.ended("stopped")
        await look_again(browser)
        assert "has ended" in await browser.until(NOTICE)
        await browser.open(link)
        assert "has ended" in await browser.until("return document.body.textContent")
    assert service.token not in server.log
    assert "overlap" not in server.log, "aiohttp names protocols, and one may be a key"
