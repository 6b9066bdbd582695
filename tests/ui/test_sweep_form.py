"""Sweeps from the form of a new task."""

import pytest
from playwright.async_api import expect

from tests.support.program import Server
from tests.support.signed_in import sign_in
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def test_sweep_is_previewed_and_submitted(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="Sweeps", exact=True).click()
    await page.get_by_role("link", name="Submit a sweep").click()
    await page.get_by_label("Name", exact=False).first.fill("swept")
    await page.get_by_label("Command").fill("sh -c 'echo $0 {seed}' {lr}")
    parameters = page.get_by_label("Values of parameters")
    await parameters.fill("lr 0.1")
    await expect(page.locator("#sweep-parameters-error")).to_contain_text("must be NAME=VALUES")
    await parameters.fill("lr=0.1,0.2\nseed=1..9..0")
    await expect(page.locator("#sweep-parameters-error")).to_contain_text("seed: ")
    await parameters.fill("lr=0.1,0.2\nseed=1..3")
    side = page.get_by_role("region", name="This sweep")
    await expect(side).to_contain_text("6 tasks, of which the first 5 are")
    first = side.get_by_role("list").get_by_role("listitem")
    await expect(first).to_have_count(5)
    await expect(first.nth(4)).to_contain_text("lr0.2seed2")
    await expect(first.nth(4)).to_contain_text("echo $0 2 0.2")
    await opened.check_accessible()
    await page.get_by_label("Parallel tasks").fill("2")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("swept")
    await expect(page.get_by_role("link", name="6 completed")).to_be_visible()
    sweep = (await server.rest.get(f"/v1/sweeps/{page.url.rpartition('/')[2]}")).json
    assert (sweep["total"], sweep["mode"], sweep["max_parallel"]) == (6, "grid", 2)


async def test_table_is_one_task_a_line(server: Server, tab: OpenTab) -> None:
    """A fault of the task is shown at its field, and what the server refuses is not sent."""
    page = await sign_in(await tab(), server, at="submit")
    await page.get_by_label("Command").fill("echo {lr}")
    await page.get_by_label("Table of parameters").fill("lr,name\n0.1,<b>\n0.2")
    await expect(page.locator("#sweep-table-error")).to_have_text(
        "row 2 must have 2 values, as the header has"
    )
    await page.get_by_label("Table of parameters").fill("lr,name\n0.1,<b>\n0.2,two")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.locator("#task-job_name-error")).to_be_visible()
    await expect(page.locator("#task-job_name")).to_be_focused()
    assert (await server.rest.get("/v1/sweeps")).json["total"] == 0
    await page.locator("#task-job_name").fill("tabled")
    await expect(page.get_by_text("The server accepts it")).to_be_visible()
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("link", name="2 completed")).to_be_visible()
    await page.get_by_role("link", name="All 2 tasks").click()
    await expect(page.locator(".task-row").first).to_contain_text("nametwo")
    await expect(page.locator(".task-row").last).to_contain_text("name<b>")
