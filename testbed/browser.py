"""A headless Chromium, Debian's own, driven by playwright."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from testbed import debian

START_SECONDS = 120
"""Longest start of the browser, on a busy machine too."""
_ARGUMENTS = (
    "--disable-dev-shm-usage",  # Containers have a small /dev/shm.
    "--disable-background-networking",  # It reaches nothing but the servers of the tests.
    "--disable-component-update",
    "--force-color-profile=srgb",
    # Names at which a server shares its origin with Jupyter, unlike at localhost.
    "--host-resolver-rules=MAP *.example 127.0.0.1",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser of its own. Raises RuntimeError where it can't be had."""
    # Its own sandbox refuses root, who runs the tests in containers.
    arguments = [*_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    path = os.environ.get("CHROMIUM") or f"/usr/bin/{debian.program('chromium')}"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=arguments, timeout=START_SECONDS * 1000
        )
        yield browser
        await browser.close()
