"""Queries in SQL: rows, errors at their place, what can be queried, and the result as a file."""

from pathlib import Path

from playwright.async_api import expect

from tests.support.logged_runs import start_run
from tests.support.program import Server
from tests.support.signed_in import sign_in
from tests.ui.conftest import OpenTab

PLANT = '<img src=x onerror="executed(1)">\u202e'


async def test_queries_are_answered(server: Server, tab: OpenTab, tmp_path: Path) -> None:
    run = await start_run(server, PLANT)
    await run.log({"loss": [3, 2.5], PLANT: [1]}, params={"lr": "0.1"})
    opened = await tab()
    page = await sign_in(opened, server, at="sql")
    editor = page.get_by_role("textbox", name="Query")
    result = page.get_by_role("region", name="Result", exact=True)
    views = page.get_by_role("region", name="Views")
    await views.locator("summary", has_text="metrics").click()
    await expect(views.get_by_role("term").filter(has_text="logged_at TIMESTAMP")).to_be_visible()

    await editor.fill("SELECT key, value, NULL AS nothing FROM metrics ORDER BY key DESC")
    await editor.press("Control+Enter")
    rows = result.get_by_role("row")
    await expect(rows).to_have_count(3)
    await expect(rows.nth(0)).to_contain_text("value DOUBLE")
    await expect(rows.nth(1)).to_contain_text("2.5")
    await expect(rows.nth(2)).to_contain_text("<img")
    await opened.check_accessible()
    async with page.expect_download() as download:
        await result.get_by_role("button", name="CSV").click()
    await (await download.value).save_as(tmp_path / "result.csv")
    lines = (tmp_path / "result.csv").read_bytes().decode().split("\r\n")
    assert lines[:2] == ["key,value,nothing", "loss,2.5,"]

    # What ran is in the address.
    await page.reload()
    await expect(rows).to_have_count(3)
    await editor.fill("SELECT *\nFROM nothing_of_this_name")
    await page.get_by_role("button", name="Run", exact=True).click()
    error = page.get_by_role("alert")
    await expect(error).to_contain_text("nothing_of_this_name")
    await expect(editor).to_have_attribute("aria-invalid", "true")
    await opened.check_accessible()
    await page.go_back()
    await expect(rows).to_have_count(3)

    # The cursor moves to the place of a mistake.
    await editor.fill("SELECT key\nFROM metrics WHERE WHERE")
    await editor.press("Control+Enter")
    await expect(error).to_contain_text("syntax error")
    assert await editor.evaluate("editor => editor.selectionStart") == 30


async def test_every_example_runs(server: Server, tab: OpenTab) -> None:
    page = await sign_in(await tab(), server, at="sql")
    examples = page.get_by_role("region", name="Examples").get_by_role("button")
    await expect(examples.first).to_be_visible()
    for index in range(await examples.count()):
        await examples.nth(index).click()
        await page.get_by_role("button", name="Run", exact=True).click()
        await expect(page.get_by_role("region", name="Result", exact=True)).to_be_visible()
        await page.go_back()
        await expect(examples.first).to_be_visible()
