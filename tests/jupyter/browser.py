"""A headless Chromium, driven over WebDriver: the few calls that the tests need."""

import asyncio
import base64
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from testbed import debian

PACKAGES = {"chromium": "chromium", "chromedriver": "chromium-driver"}
"""Program → Debian's package."""
SECONDS = 240
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # it has none for root
    "--disable-dev-shm-usage",
    "--window-size=1100,640",
    "--no-first-run",
    "--disable-background-networking",
)
SHIFT, ENTER, CONTROL = "\ue008", "\ue007", "\ue009"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def install() -> None:
    """Install Debian's Chromium where there is none. Raises RuntimeError where that can't be."""
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    debian.install(*missing)


_NOT_YET = frozenset(
    {"element not interactable", "element click intercepted", "stale element reference"}
)


class NotYet(RuntimeError):
    """The page is not as far."""


class Browser:
    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def open(self, url: str) -> None:
        await self.call("POST", "/url", {"url": url})

    async def find(self, selector: str) -> str:
        """The id of the first that is there; waits until there is one."""
        found = await self.until(
            "const at = document.querySelector(arguments[0]);"
            "return at && at.getClientRects().length ? at : null",
            selector,
        )
        return str(found[_ELEMENT])

    async def click(self, selector: str) -> None:
        """Again while the page still moves it about."""
        async with asyncio.timeout(SECONDS):
            while True:
                element = await self.find(selector)
                try:
                    await self.call("POST", f"/element/{element}/click", {})
                except NotYet:
                    await asyncio.sleep(0.1)
                else:
                    return

    async def press(self, *keys: str) -> None:
        """All at once, as Shift and Enter are."""
        actions = [{"type": "keyDown", "value": key} for key in keys]
        actions += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}
        await self.call("POST", "/actions", body)

    async def type(self, text: str) -> None:
        for letter in text:
            await self.press(letter)

    async def run(self, script: str, *arguments: object) -> Any:
        """The value of a function's body in the page."""
        return await self.call("POST", "/execute/sync", {"script": script, "args": arguments})

    async def until(self, script: str, *arguments: object) -> Any:
        """The first value that is none of false, null, 0 and ''."""
        async with asyncio.timeout(SECONDS):
            while not (value := await self.run(script, *arguments)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return value

    async def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(await self.call("GET", "/screenshot")))  # noqa: ASYNC240

    async def call(self, method: str, path: str, body: object = None) -> Any:
        async with self._session.request(method, self._base + path, json=body) as reply:
            value = (await reply.json())["value"]
        if reply.status != 200:
            kind = NotYet if value["error"] in _NOT_YET else RuntimeError
            raise kind(f"{path}: {value['error']}: {value['message']}")
        return value


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """`folder`: for its profile. Nothing of it runs on afterwards."""
    await asyncio.to_thread(install)
    driver = await asyncio.create_subprocess_exec(
        "chromedriver",
        "--port=0",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    try:
        port = await _port_of(driver)
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "args": [*ARGUMENTS, f"--user-data-dir={folder / 'profile'}"],
            },
        }
        async with aiohttp.ClientSession() as session:
            browser = Browser(session, f"http://127.0.0.1:{port}")
            made = await browser.call(
                "POST", "/session", {"capabilities": {"alwaysMatch": capabilities}}
            )
            browser = Browser(session, f"http://127.0.0.1:{port}/session/{made['sessionId']}")
            try:
                yield browser
            finally:
                await browser.call("DELETE", "")
    finally:
        driver.terminate()
        await driver.wait()


async def _port_of(driver: asyncio.subprocess.Process) -> int:
    assert driver.stdout is not None
    async with asyncio.timeout(SECONDS):
        while line := (await driver.stdout.readline()).decode():
            if "started successfully on port " in line:
                return int(line.rpartition(" ")[2].rstrip(".\n"))
    raise RuntimeError("chromedriver has ended")
