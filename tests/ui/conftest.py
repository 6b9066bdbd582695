"""Every test here drives a real browser. They share it, and so they share an event loop."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from testbed.browser import chromium
from testbed.gpu.stand_in import GpuBox
from tests.support.busy_host import BusyHost, busy_host
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve, serving
from tests.support.tab import DESKTOP, Tab, open_tab
from tests.support.waiting import SECONDS

OpenTab = Callable[..., Awaitable[Tab]]
"""`await tab(size, dark=False)`: a tab that is closed, and checked, at the end of the test."""

_HERE = Path(__file__).parent

expect.set_options(timeout=SECONDS * 1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Fails where there is no Chromium: nothing here is ever skipped."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser) -> AsyncIterator[OpenTab]:
    async with AsyncExitStack() as tabs:

        async def tab(size: tuple[int, int] = DESKTOP, **options: Any) -> Tab:
            return await tabs.enter_async_context(open_tab(browser, size, **options))

        yield tab


@pytest_asyncio.fixture(loop_scope="session")
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """As in the other rooms, on the loop of these tests."""
    async with serving(tmp_path) as serve:
        yield serve


@pytest_asyncio.fixture(loop_scope="session")
async def server(serve: Serve, processes_backend: Backend) -> Server:
    """A server that runs tasks as plain processes, started."""
    return await serve(processes_backend).start()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def busy(
    tmp_path_factory: pytest.TempPathFactory, gpu_libraries: Path
) -> AsyncIterator[BusyHost]:
    """Only read by tests: they share it."""
    folder = tmp_path_factory.mktemp("busy")
    async with serving(folder) as serve:
        backend = Backend({"FETCHML_LAUNCHER": "process"}, lambda: ())
        yield await busy_host(serve, backend, GpuBox(folder / "nvidia", gpu_libraries))
