"""Webhooks on the page: default addresses, a task's own, and messages that are not delivered."""

import pytest
from playwright.async_api import expect

from tests.support.program import Backend
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

NOBODY = "http://127.0.0.1:1/hook"


async def test_addresses_are_set_and_undelivered_messages_shown(
    serve: Serve, processes_backend: Backend, tab: OpenTab
) -> None:
    server = await serve(processes_backend, FETCHML_NOTIFICATIONS_ALLOW_PRIVATE="true").start()
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="Notifications", exact=True).click()
    addresses = page.get_by_label("Addresses of tasks that name none")
    await addresses.fill("ftp://example.com")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#notifications-notify-error")).to_be_visible()
    await addresses.fill(f"failed,{NOBODY}")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    await opened.check_accessible()

    task_id = await server.submit("exit 3")
    await server.ended(task_id)
    await visit(page, server, "notifications")
    await expect(addresses).to_have_value(f"failed,{NOBODY}")
    row = page.get_by_role("row", name="task.failed")
    await expect(row).to_contain_text(NOBODY)
    await row.get_by_role("link", name="task.failed").click()
    await expect(page).to_have_url(f"http://{server.http_address}/ui/tasks/{task_id}")
