"""Secrets on the page: set, used by a task from the form, removed; never shown."""

import pytest
from playwright.async_api import expect

from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

VALUE = "hf_0123456789abcdef"


async def test_secret_is_set_used_and_removed(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="Secrets", exact=True).click()
    await page.get_by_label("Name").fill("2nd")
    await page.get_by_label("Value").fill(VALUE)
    await page.get_by_role("button", name="Set", exact=True).click()
    await expect(page.locator("#secret-name-error")).to_be_visible()
    await page.get_by_label("Name").fill("HF_TOKEN")
    await page.get_by_role("button", name="Set", exact=True).click()
    row = page.get_by_role("row", name="HF_TOKEN")
    await expect(row).to_be_visible()
    await expect(page.get_by_label("Value")).to_have_value("")
    await opened.check_accessible()

    await visit(page, server, "submit")
    await page.get_by_label("Name").fill("uses")
    await page.get_by_label("Command").fill("sh -c 'echo ${#HF_TOKEN} $HF_TOKEN'")
    await page.get_by_label("Secrets").fill("OTHER")
    await expect(page.locator("#task-secrets-error")).to_contain_text("secret OTHER not found")
    await page.get_by_label("Secrets").fill("HF_TOKEN")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("uses")
    task_id = page.url.rpartition("/")[2]
    await server.ended(task_id)
    log = await server.rest.get(f"/v1/tasks/{task_id}/logs")
    assert log.body == f"{len(VALUE)} ***\n".encode()

    await visit(page, server, "secrets")
    await row.get_by_role("button", name="Remove HF_TOKEN").click()
    await page.get_by_role("button", name="Remove", exact=True).click()
    await expect(page.get_by_text("You have no secrets")).to_be_visible()
