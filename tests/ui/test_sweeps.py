"""Sweeps and experiments: one row each, which opens. The tasks of sweeps, the best of them, cancel
and retry."""

import re

import pytest
from playwright.async_api import expect

from fetchml.core.model import Role
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

REPORTS = (
    'echo "{\\"loss\\": $FETCHML_PARAM_LR}" > "$FETCHML_OUTPUTS/metrics.json"; '
    'test "$FETCHML_PARAM_LR" != 3'
)


async def sweep(server: Server, command: str, values: list[int]) -> str:
    """Returns its id."""
    request = {
        "name": "rates",
        "task": {"job_name": "train", "command": ["sh", "-c", command]},
        "parameters": {"lr": {"values": values}},
    }
    return str((await server.rest.submit(request, "/v1/sweeps")).json["id"])


async def test_sweep_is_one_row_that_opens(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="Sweeps", exact=True).click()
    await expect(page.get_by_text("There are no sweeps yet")).to_be_visible()

    await sweep(server, REPORTS, [2, 1, 3])
    row = page.get_by_role("row", name="rates")
    await expect(row).to_contain_text("2 completed")
    await expect(row).to_contain_text("1 failed")
    await row.get_by_role("link", name="rates").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("rates")
    await expect(page.get_by_label("Metric")).to_have_value("loss")
    best = page.get_by_role("region", name="Best tasks").get_by_role("row")
    await expect(best).to_have_count(3)
    await expect(best.nth(1)).to_contain_text("lr1")
    await page.get_by_label("Best is").select_option("max")
    await expect(best.nth(1)).to_contain_text("lr2")
    await opened.check_accessible()

    await page.get_by_role("button", name="Retry 1 failed task").click()
    await expect(page.get_by_text("1 task submitted again")).to_be_visible()
    await page.get_by_role("link", name="All 3 tasks").click()
    await expect(page.locator(".task-row")).to_have_count(3)
    await expect(page.locator(".task-row").first).to_contain_text("lr3")


async def test_sweep_is_cancelled_by_its_owner_only(server: Server, tab: OpenTab) -> None:
    sweep_id = await sweep(server, "sleep 1000", [1, 2])
    key = await server.key("eve", Role.USER)
    page = await sign_in(await tab(), server, key, at=f"sweeps/{sweep_id}")
    await expect(page.get_by_role("link", name="All 2 tasks")).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel all")).to_have_count(0)

    page = await sign_in(await tab(), server, at=f"sweeps/{sweep_id}")
    await page.get_by_role("button", name="Cancel all").click()
    await page.get_by_role("button", name="Cancel 2 tasks").click()
    await expect(page.get_by_text("2 tasks cancelled")).to_be_visible()
    await expect(page.get_by_role("link", name="2 failed")).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel all")).to_have_count(0)


async def test_list_of_tasks_has_one_row_for_a_sweep(server: Server, tab: OpenTab) -> None:
    """It opens by keyboard, loads its tasks as one scrolls, and counts them as they end."""
    await server.ended(await server.submit("true", job_name="before"))
    sweep_id = await sweep(server, "sleep 1000", list(range(450)))
    opened = await tab()
    page = await sign_in(opened, server, at="tasks")
    await expect(page.locator(".view-head")).to_contain_text("451 tasks")
    rows = page.locator(".task-row")
    await expect(rows).to_have_count(2)
    row = page.locator(".group-row")
    await expect(row).to_contain_text("queued")

    await page.get_by_role("link", name="before").focus()
    await page.keyboard.press("ArrowUp")
    await expect(row.get_by_role("link", name="rates")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    button = row.get_by_role("button", name="Tasks of rates")
    await expect(button).to_have_attribute("aria-expanded", "true")
    await expect(page.get_by_label("Select train").first).to_be_visible()
    await opened.check_accessible()
    columns = await page.get_by_role("columnheader").count()
    name = row.get_by_role("cell").last
    await expect(name).to_have_attribute("aria-colspan", str(columns - 1))
    table, all_rows = page.locator(".task-table"), page.locator(".virtual-rows")
    while await all_rows.evaluate("(all) => all.offsetHeight / 36") < 452:
        await table.evaluate("(table) => table.scrollBy(0, 3000)")
        assert await rows.count() < 100
    await table.evaluate("(table) => table.scrollBy(0, 100000)")
    await expect(page.get_by_role("link", name="before")).to_be_visible()
    await table.evaluate("(table) => table.scrollTo(0, 0)")
    await button.click()
    await expect(rows).to_have_count(2)
    assert (await server.rest.ask("POST", f"/v1/sweeps/{sweep_id}/cancel")).status == 200
    await expect(row.get_by_role("link", name="450 failed")).to_be_visible()
    await visit(page, server, "tasks?status=failed")
    await expect(row).to_have_count(0)
    await expect(page.locator(".view-head")).to_contain_text("450 tasks")


async def test_list_of_tasks_has_one_row_for_an_experiment(server: Server, tab: OpenTab) -> None:
    """With its sweeps. It opens by keyboard, and follows new tasks; its switch is in the URL."""
    await server.ended(await server.submit("true", job_name="before"))
    made = await server.rest.submit({"name": "<b>ablation"}, "/v1/experiments")
    in_it = {"experiment_id": made.json["id"]}
    for number in range(3):
        await server.submit("true", job_name=f"run-{number}", hold=True, **in_it)
    held = {"job_name": "swept", "hold": True, **in_it}
    parameters = {"n": {"range": [1, 70]}}
    await server.rest.submit({"task": held, "parameters": parameters}, "/v1/sweeps")
    opened = await tab()
    page = await sign_in(opened, server, at="tasks")
    await expect(page.locator(".view-head")).to_contain_text("74 tasks")
    rows, row = page.locator(".task-row"), page.locator(".group-row")
    await expect(rows).to_have_count(2)

    await page.get_by_role("link", name="before").focus()
    await page.keyboard.press("ArrowUp")
    link = row.get_by_role("link", name="<b>ablation")
    await expect(link).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    button = row.get_by_role("button", name="Tasks of <b>ablation")
    await expect(button).to_have_attribute("aria-expanded", "true")
    await expect(row.get_by_role("link", name="73 queued")).to_be_visible()
    await expect(page.get_by_label("Select swept").first).to_be_visible()
    await opened.check_accessible()
    to_end = "(table) => table.scrollTo(0, 100000)"
    await page.locator(".task-table").evaluate(to_end)
    await expect(page.locator(".virtual-rows")).to_have_css("height", f"{75 * 36}px")
    await page.locator(".task-table").evaluate(to_end)
    for name in ("run-0", "before"):
        await expect(page.get_by_role("link", name=name)).to_be_visible()
    await page.locator(".task-table").evaluate("(table) => table.scrollTo(0, 0)")
    await server.submit("true", job_name="newest", hold=True, **in_it)
    await expect(row.get_by_role("link", name="74 queued")).to_be_visible()
    await expect(page.get_by_role("link", name="newest")).to_be_visible()
    await button.click()
    await expect(rows).to_have_count(2)

    await page.get_by_label("One row per experiment").uncheck()
    await expect(page).to_have_url(re.compile("fold=sweeps"))
    await expect(page.get_by_role("link", name="newest")).to_be_visible()
    await expect(rows).to_have_count(6)
    await expect(row.get_by_role("link", name="swept")).to_be_visible()
    await page.get_by_label("One row per experiment").check()
    await expect(rows).to_have_count(2)
    await link.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("<b>ablation")
    await visit(page, server, f"tasks?experiment={made.json['id']}")
    await expect(rows).to_have_count(5)
    await expect(page.get_by_label("One row per experiment")).to_have_count(0)
