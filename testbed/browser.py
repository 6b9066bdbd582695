"""A headless Chromium, Debian's own, driven by playwright."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from playwright.async_api import Browser, async_playwright

from testbed import debian
from testbed.patience import SECONDS

_ARGUMENTS = (
    "--disable-dev-shm-usage",  # Containers have a small /dev/shm.
    "--disable-background-networking",  # It reaches nothing but the servers of the tests.
    "--disable-component-update",
    "--force-color-profile=srgb",
    # Names at which a server shares its origin with Jupyter, unlike at localhost.
    "--host-resolver-rules=MAP *.example 127.0.0.1",
)


@asynccontextmanager
async def chromium(*, idle: bool = False) -> AsyncIterator[Browser]:
    """A browser of its own. Raises RuntimeError where it can't be had.

    idle: it runs only while no other process wants the processor (SCHED_IDLE).
    """
    # Its own sandbox refuses root, who runs the tests in containers.
    arguments = [*_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    path = os.environ.get("CHROMIUM") or f"/usr/bin/{debian.program('chromium')}"
    with TemporaryDirectory() as folder:
        program = _idle_program(Path(folder), path) if idle else path
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=program, args=arguments, timeout=SECONDS * 1000
            )
            yield browser
            await browser.close()


def _idle_program(folder: Path, path: str) -> Path:
    """A program that starts the browser, whose processes inherit its scheduling."""
    program = folder / "browser"
    program.write_text(f'#!/bin/sh\nexec nice -n 19 chrt --idle 0 {quote(path)} "$@"\n')
    program.chmod(0o755)
    return program
