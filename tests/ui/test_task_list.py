"""The list of tasks: filters in the address, actions on many, the keyboard, many rows."""

import os
import re

import pytest
from playwright.async_api import expect

from fetchml.core.model import Role
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def submit_ended(server: Server, *names: str, script: str = "true") -> list[str]:
    ids = [await server.submit(script, job_name=name, max_retries=0) for name in names]
    for task_id in ids:
        await server.ended(task_id)
    return ids


async def test_filters_are_in_the_address(server: Server, tab: OpenTab) -> None:
    await submit_ended(server, "good-one", "good-two")
    await submit_ended(server, "bad-one", script="exit 3")
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="Tasks", exact=True).click()
    rows = page.locator(".task-row")
    await expect(rows).to_have_count(3)
    await page.get_by_role("button", name="failed", exact=True).click()
    await expect(rows).to_have_count(1)
    await expect(page).to_have_url(re.compile("status=failed"))
    await page.get_by_role("button", name="failed", exact=True).click()
    await page.get_by_role("searchbox").fill("GOOD")
    await expect(rows).to_have_count(2)
    await expect(page).to_have_url(re.compile("q=GOOD"))
    await page.reload()
    await expect(rows).to_have_count(2)
    await page.get_by_text("Columns").click()
    await page.get_by_label("Priority").check()
    await expect(page).to_have_url(re.compile("columns=.*priority"))
    await expect(page.get_by_role("columnheader", name="Priority")).to_be_visible()
    await opened.check_accessible()


async def test_own_tasks_are_the_default_where_others_exist(server: Server, tab: OpenTab) -> None:
    await submit_ended(server, "of-the-admin")
    secret = await server.key("ada", Role.USER)
    rest, _ = await server.clients(secret)
    assert (await rest.submit({"job_name": "of-ada", "command": ["true"]})).status == 201
    page = await sign_in(await tab(), server, secret, at="tasks")
    rows = page.locator(".task-row")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("of-ada")
    await page.get_by_role("combobox", name="User").select_option("*")
    await expect(rows).to_have_count(2)


async def test_many_tasks_are_cancelled_at_once(server: Server, tab: OpenTab) -> None:
    ids = [await server.submit_running("sleep 1000", job_name=f"long-{n}") for n in range(3)]
    page = await sign_in(await tab(), server, at="tasks")
    await page.get_by_label("Select long-2").click()
    await page.get_by_label("Select long-0").click(modifiers=["Shift"])
    toolbar = page.get_by_role("toolbar")
    await expect(toolbar).to_contain_text("3 tasks selected")
    await toolbar.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Cancel 3 tasks?")
    await dialog.get_by_role("button", name="Cancel 3 tasks").click()
    await expect(page.get_by_text("3 tasks cancelled")).to_be_visible()
    for task_id in ids:
        assert "cancelled" in (await server.ended(task_id)).error


async def test_keyboard_alone_opens_a_task(server: Server, tab: OpenTab) -> None:
    await submit_ended(server, "first", "second")
    page = await sign_in(await tab(), server, at="tasks")
    await page.get_by_role("link", name="second").focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("link", name="first")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("first")
    await expect(page.locator("main")).to_be_focused()


async def test_a_window_of_many_rows_exists(server: Server, tab: OpenTab) -> None:
    """Rows are read by cursor as far as one scrolls, and only the visible ones exist."""
    cpus = os.cpu_count() or 1
    await server.submit_running("sleep 1000", job_name="blocks", cpu=cpus)
    for number in range(450):
        await server.submit("true", job_name=f"row-{number}", cpu=cpus)
    page = await sign_in(await tab(), server, at="tasks")
    await expect(page.locator(".view-head")).to_contain_text("451 tasks")
    table = page.locator(".task-table")
    # A row that stays on the screen is the same element: nothing in it is made again.
    kept = page.locator(".task-row").filter(has_text="row-430")
    await kept.evaluate("(row) => { row.isKept = true; }")
    last = str(await page.locator(".task-row").last.text_content())
    await table.evaluate("(table) => table.scrollBy(0, 720)")
    await expect(page.locator(".task-row").last).not_to_have_text(last)
    assert await kept.evaluate("(row) => row.isKept === true")
    # A row that comes takes over the element of one that left, unless a person uses that.
    rows = page.locator(".task-row")
    await page.get_by_role("link", name="row-430").focus()
    drawn = await rows.evaluate_all("(rows) => rows.map((row) => { row.wasShown = true; }).length")
    await table.evaluate("(table) => table.scrollBy(0, 3000)")
    await expect(kept).to_have_count(0)
    taken_over = await rows.evaluate_all("(rows) => rows.filter((row) => row.wasShown).length")
    assert drawn - 5 < taken_over < drawn
    assert await page.evaluate("document.activeElement.closest('.task-row')") is None
    oldest = page.get_by_role("link", name="blocks")
    while await oldest.count() == 0:
        await table.evaluate("(table) => table.scrollBy(0, 3000)")
        assert await page.locator(".task-row").count() < 100
    await expect(oldest).to_be_visible()


async def test_many_tasks_are_labelled_and_run_again(server: Server, tab: OpenTab) -> None:
    await submit_ended(server, "done-1", "done-2")
    page = await sign_in(await tab(), server, at="tasks")
    await page.get_by_label("Select all 2 rows").click()
    await page.get_by_role("toolbar").get_by_role("button", name="Label").click()
    await page.get_by_label("Key").fill("<b>team</b>")
    await page.get_by_label("Value").fill("vision")
    await page.get_by_role("button", name="Label 2 tasks").click()
    await expect(page.get_by_text("2 tasks labelled")).to_be_visible()
    await visit(page, server, "tasks?label=<b>team</b>=vision&columns=labels")
    rows = page.locator(".task-row")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("<b>team</b>vision")
    await page.get_by_label("Select all 2 rows").click()
    await page.get_by_role("toolbar").get_by_role("button", name="Retry").click()
    await page.get_by_role("button", name="Retry 2 tasks").click()
    await expect(rows).to_have_count(4)
