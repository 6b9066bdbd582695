"""Experiments: the runs as a table and plots, and the comparison of some of them."""

from typing import Any

from playwright.async_api import expect

from tests.contract.schemathesis_archives import archive
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.support.tab import PHONE
from tests.ui.conftest import OpenTab

HOSTILE = "<img src=x onerror=executed(1)>"
REPORTS = """
import json, os, sys
with open(os.path.join(os.environ["FETCHML_OUTPUTS"], "metrics.json"), "w") as file:
    json.dump({"loss": float(sys.argv[2])}, file)
"""


async def snapshot(server: Server, files: dict[str, bytes]) -> str:
    reply = await server.rest.ask(
        "PUT", "/v1/snapshots", archive(files), Content_Type="application/gzip"
    )
    return str(reply.json["id"])


async def experiment(server: Server) -> tuple[str, list[str]]:
    """Three ended runs of one experiment. Returns its id and theirs."""
    made = await server.rest.submit({"name": f"sweep {HOSTILE}"}, "/v1/experiments")
    common = {"helper.py": b"same = True\n", "run.py": REPORTS.encode()}
    old = await snapshot(server, {**common, "model.py": b"layers = 2\nwidth = 8\n"})
    new = await snapshot(server, {**common, "model.py": b"layers = 4\nwidth = 8\n"})
    ids = []
    for rate, code in (("0.1", old), ("0.01", old), ("0.5", new)):
        fields: dict[str, Any] = {
            "command": ["python3", "run.py"],
            "args": f"--lr {rate} --seed 1",
            "snapshot_id": code,
            "experiment_id": made.json["id"],
            "metadata": {"note": HOSTILE},
        }
        ids.append(await server.submit("unused", **fields))
    for task_id in ids:
        await server.ended(task_id)
    return made.json["id"], ids


async def test_runs_are_sorted_filtered_and_compared(server: Server, tab: OpenTab) -> None:
    experiment_id, _ = await experiment(server)
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
    await page.get_by_text("model.py").click()
    await expect(page.locator(".diff-removed, .diff-added")).to_have_count(2)
    await expect(page.locator(".diff")).to_contain_text("layers = 4")
    await opened.check_accessible()
    await visit(page, server, f"experiments/{experiment_id}?part=scatter&logx=1")
    await expect(page.locator(".point")).to_have_count(3)


async def test_experiment_fits_a_phone(server: Server, tab: OpenTab) -> None:
    experiment_id, ids = await experiment(server)
    opened = await tab(PHONE, dark=True)
    page = await sign_in(opened, server)
    parts = ("", "?part=scatter", "?part=parallel")
    paths = [f"experiments/{experiment_id}{part}" for part in parts]
    for path in [*paths, f"compare?task={ids[0]}&task={ids[2]}", "experiments"]:
        await visit(page, server, path)
        await expect(page.locator(".loading")).to_have_count(0)
        await opened.check_accessible()
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE[0], (path, width)


async def test_experiment_is_created(server: Server, tab: OpenTab) -> None:
    page = await sign_in(await tab(), server)
    await visit(page, server, "experiments")
    await page.get_by_role("button", name="New experiment").click()
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator("#experiment-name-error")).to_have_text("must not be empty")
    await page.get_by_role("textbox", name="Name").fill("first")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("first")
    await expect(page.get_by_role("link", name="Submit the first")).to_be_visible()
