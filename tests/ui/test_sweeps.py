"""Sweeps: one row each, which opens; their tasks, the best of them, cancel and retry."""

from playwright.async_api import expect

from fetchml.core.model import Role
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

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
    page = await sign_in(await tab(), server, key)
    await visit(page, server, f"sweeps/{sweep_id}")
    await expect(page.get_by_role("link", name="All 2 tasks")).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel all")).to_have_count(0)

    page = await sign_in(await tab(), server)
    await visit(page, server, f"sweeps/{sweep_id}")
    await page.get_by_role("button", name="Cancel all").click()
    await page.get_by_role("button", name="Cancel 2 tasks").click()
    await expect(page.get_by_text("2 tasks cancelled")).to_be_visible()
    await expect(page.get_by_role("link", name="2 failed")).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel all")).to_have_count(0)
