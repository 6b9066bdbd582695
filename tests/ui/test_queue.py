"""The queue on the overview."""

import pytest
from playwright.async_api import expect

from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def test_overview_shows_the_queue_in_order(
    serve: Serve, processes_backend: Backend, tab: OpenTab
) -> None:
    server: Server = await serve(processes_backend, FETCHML_RESOURCES_CPU="1").start()
    await server.submit_running("sleep 1000", job_name="runs-first", cpu=1)
    await server.submit("true", job_name="waits-longer", priority=1, cpu=1)
    await server.submit("true", job_name="waits-shorter", priority=9, cpu=1)
    opened = await tab()
    page = await sign_in(opened, server)
    rows = page.get_by_role("region", name="Queue").get_by_role("listitem")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("waits-shorter")
    await expect(rows.nth(0)).to_contain_text("Position 1")
    await expect(rows.nth(1)).to_contain_text("waits-longer")
    await opened.check_accessible()
