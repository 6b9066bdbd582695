"""Experiments: the runs as a table and plots, and the comparison of some of them."""

import pytest
from playwright.async_api import expect

from tests.support.experiment_runs import experiment
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=executed(1)>"


async def test_runs_are_sorted_filtered_and_compared(server: Server, tab: OpenTab) -> None:
    experiment_id, _ = await experiment(server, f"sweep {HOSTILE}", HOSTILE)
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="Experiments", exact=True).click()
    await page.get_by_role("link", name="sweep <img").click()
    rows = page.locator(".run-table tbody tr")
    await expect(rows).to_have_count(3)
    await opened.check_accessible()

    await page.get_by_role("button", name="lr").click()
    await expect(rows.first).to_contain_text("0.01")
    await page.get_by_role("button", name="lr").click()
    await expect(rows.first).to_contain_text("0.5")
    await expect(page.get_by_role("button", name="seed")).to_be_visible()
    await page.get_by_label("Hide equal columns").check()
    await expect(page.get_by_role("button", name="seed")).to_have_count(0)
    await expect(page.get_by_role("button", name="loss")).to_be_visible()
    await page.get_by_label("Filter runs").fill("lr=0.1")
    await expect(rows).to_have_count(1)
    await page.get_by_label("Filter runs").fill("")
    await expect(rows).to_have_count(3)

    for name in ("Scatter", "Parallel coordinates"):
        await page.get_by_role("link", name=name).click()
        await expect(page.get_by_role("img")).to_be_visible()
        await opened.check_accessible()
    await page.get_by_role("link", name="Table").click()
    for box in await rows.get_by_role("checkbox").all():
        await box.check()
    await page.get_by_role("link", name="Compare 3").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Compare")
    table = page.get_by_role("region", name="Differences")
    await expect(table.get_by_role("row", name="loss")).to_contain_text("0.01")
    await expect(table.get_by_role("rowheader", name="seed")).to_have_count(0)
    made = page.get_by_role("region", name="What made them")
    await expect(made.get_by_role("listitem").filter(has_text="data")).to_contain_text("identical")
    await expect(made.get_by_role("group").filter(has_text="results")).to_contain_text("different")
    await page.get_by_role("region", name="Code").get_by_text("model.py").click()
    await expect(page.locator(".diff-removed, .diff-added")).to_have_count(2)
    await expect(page.locator(".diff")).to_contain_text("layers = 4")
    await opened.check_accessible()
    await visit(page, server, f"experiments/{experiment_id}?part=scatter&logx=1")
    await expect(page.locator(".point")).to_have_count(3)


async def test_experiment_is_created(server: Server, tab: OpenTab) -> None:
    page = await sign_in(await tab(), server, at="experiments")
    await page.get_by_role("button", name="New experiment").click()
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator("#experiment-name-error")).to_have_text("must not be empty")
    await page.get_by_role("textbox", name="Name").fill("first")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("first")
    await expect(page.get_by_role("link", name="Submit the first")).to_be_visible()
