"""Curves of runs: they grow, they are compared, and whatever was logged is shown as text."""

import math
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Request, expect

from tests.support.logged_runs import LoggedRun, start_run
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

PLANT = '<img src=x onerror="executed(1)">\u202e'


async def test_curves_grow_while_a_run_logs(server: Server, tab: OpenTab) -> None:
    """The link is the one that MLflow's client prints."""
    run = await start_run(server, "grows")
    await run.log({"train/loss": [4, 3], "val/loss": [5]}, params={"lr": "0.1"})
    page = await sign_in(await tab(), server)
    await page.goto(f"http://{server.http_address}/mlflow/#/experiments/0/runs/{run.id}")
    await expect(page).to_have_url(re.compile(f"/ui/runs/{run.id}$"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("grows")
    loss = page.get_by_role("slider", name="Values of train/loss")
    await expect(loss).to_have_attribute("aria-valuetext", "step 1: 3")
    await expect(page.get_by_role("slider", name="Values of val/loss")).to_be_visible()

    await run.log({"train/loss": [2, 1.5], "extra": [7]}, first_step=2)
    await expect(loss).to_have_attribute("aria-valuetext", "step 3: 1.5")
    await expect(page.get_by_role("slider", name="Values of extra")).to_be_visible()
    await run.log({"train/loss": [0.5]}, first_step=4)
    await run.end()
    await expect(loss).to_have_attribute("aria-valuetext", "step 4: 0.5")
    await expect(page.locator(".view-head")).to_contain_text("finished")

    # By keyboard from the last point back to the first.
    await loss.press("Home")
    await expect(loss).to_have_attribute("aria-valuetext", "step 0: 4")
    await loss.press("ArrowRight")
    await expect(loss).to_have_attribute("aria-valuetext", "step 1: 3")


async def test_a_zoom_is_computed_again(server: Server, tab: OpenTab) -> None:
    run = await start_run(server, "long")
    for first in range(0, 3000, 1000):
        await run.log({"loss": [math.sin(step) for step in range(1000)]}, first_step=first)
    page = await sign_in(await tab(), server, at=f"runs/{run.id}")
    loss = page.get_by_role("slider", name="Values of loss")
    await loss.press("Home")
    # A bucket of more than one point has limits.
    await loss.press("ArrowRight")
    await expect(loss).to_have_attribute("aria-valuetext", re.compile(r" to "))
    box = await page.locator(".u-over").bounding_box()
    assert box is not None
    async with page.expect_request(re.compile(r"/v1/curves\?.*from=\d+.*to=\d+")):
        await page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20, steps=3)
        await page.mouse.up()
    await expect(page).to_have_url(re.compile(r"from=1[45]\d\d.*to=1[78]\d\d"))
    # 300 points are each a bucket of their own.
    await expect(loss).to_have_attribute("aria-valuemax", re.compile(r"^(29|30)\d$"))
    await loss.press("Home")
    await loss.press("ArrowRight")
    await expect(loss).to_have_attribute(
        "aria-valuetext", re.compile(r"^step 1[45]\d\d: [-\d.e]+$")
    )
    await page.get_by_role("button", name="Show all").click()
    await expect(page).not_to_have_url(re.compile("from="))
    await loss.press("Home")
    await expect(loss).to_have_attribute("aria-valuetext", "step 0: 0")


async def test_only_charts_in_view_are_read(server: Server, tab: OpenTab) -> None:
    run = await start_run(server, "wide")
    await run.log({f"layer{number}/norm": [1, 2] for number in range(100)})
    await run.log({f"layer{number}/mean": [1, 2] for number in range(100)})
    opened = await tab()
    read: list[str] = []
    opened.page.on("request", lambda request: read.extend(metrics_of(request)))
    page = await sign_in(opened, server, at=f"runs/{run.id}")
    await expect(page.locator(".metrics figure")).to_have_count(200)
    await expect(page.get_by_role("slider", name="Values of layer0/norm")).to_be_visible()
    assert 0 < len(read) < 60
    await page.get_by_label("Filter metrics").fill("layer99 norm")
    await expect(page.get_by_role("slider", name="Values of layer99/norm")).to_be_visible()
    await expect(page.locator(".metrics figure")).to_have_count(1)
    assert "layer99/norm" in read


def metrics_of(request: Request) -> list[str]:
    address = urlsplit(request.url)
    return parse_qs(address.query).get("metrics", []) if address.path == "/v1/curves" else []


async def test_artifacts_are_listed_and_downloaded(server: Server, tab: OpenTab) -> None:
    run = await start_run(server, "keeps files")
    await run.keep("plain.txt", b"plain")
    await run.keep("model/<b>weights.bin", b"weights")
    page = await sign_in(await tab(), server, at=f"runs/{run.id}")
    files = page.get_by_role("region", name="Artifacts")
    await expect(files.get_by_role("listitem")).to_have_count(2)
    async with page.expect_download() as download:
        await files.get_by_role("button", name="plain.txt").click()
    assert (await (await download.value).path()).read_bytes() == b"plain"
    await files.get_by_role("button", name="model").click()
    await expect(files.get_by_role("listitem")).to_have_text(re.compile(r"^<b>weights.bin\s*7 B$"))
    await files.get_by_role("button", name="Up").click()
    await expect(files.get_by_role("listitem")).to_have_count(2)


@pytest.mark.slow
async def test_twenty_runs_are_compared(server: Server, tab: OpenTab) -> None:
    runs: list[LoggedRun] = []
    for number in range(20):
        run = await start_run(server, f"{PLANT}{number}")
        values = [1 / (step + 1) + number for step in range(50)]
        await run.log(
            {"loss": values, PLANT: [math.nan, 1, math.inf]}, params={"n": str(number), "seed": "1"}
        )
        await run.end()
        runs.append(run)
    opened = await tab()
    page = await sign_in(opened, server, at="runs")
    boxes = page.get_by_role("table").get_by_role("checkbox")
    await expect(boxes).to_have_count(20)
    for box in await boxes.all():
        await box.check()
    await page.get_by_role("link", name="Compare 20").click()
    table = page.get_by_role("region", name="Differences")
    await expect(table.get_by_role("columnheader")).to_have_count(20)
    await expect(table.get_by_role("rowheader", name="seed")).to_have_count(0)
    await expect(table.get_by_role("row", name="loss")).to_contain_text("lowest")
    loss = page.get_by_role("slider", name="Values of loss")
    await loss.press("Home")
    text = await loss.get_attribute("aria-valuetext") or ""
    assert text.startswith("step 0: ")
    assert len(text.split(", ")) == 20
    await expect(
        page.get_by_role("figure", name="loss").locator(".metric-value").last
    ).to_be_visible()
    hostile = page.get_by_role("figure", name="<img")
    await expect(hostile).to_contain_text("40 values are NaN or infinite")
    await opened.check_accessible()
    await page.get_by_label("Show equal rows too").check()
    await expect(table.get_by_role("rowheader", name="seed")).to_have_count(1)

    for query in (
        "log=1",
        "x=relative&smooth=0.9",
        "x=time",
        "from=NaN&to=1e999&smooth=-1&x=constructor",
    ):
        await visit(page, server, f"compare?run={runs[0].id}&run={runs[1].id}&{query}")
        await expect(loss).to_be_visible()
        await expect(hostile.get_by_role("slider")).to_be_visible()


TRAINS = """
import json, os, time
with open(os.path.join(os.environ["FETCHML_OUTPUTS"], "metrics.jsonl"), "a", buffering=1) as file:
    for step in range(100_000):
        print(json.dumps({"step": step, "train/loss": 1 / (step + 1), "val/loss": 2}), file=file)
        print("step", step, flush=True)
        if os.path.exists(os.environ["STOP"]):
            break
        time.sleep(0.2)
"""


async def test_curves_of_a_task_grow_beside_its_log(
    server: Server, tab: OpenTab, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    task_id = await server.submit_running(
        "", job_name="trains", command=["python3", "-u", "-c", TRAINS], env={"STOP": str(stop)}
    )
    opened = await tab()
    page = await sign_in(opened, server, at=f"tasks/{task_id}")
    curves = page.get_by_role("region", name="Curves")
    loss = curves.get_by_role("slider", name="Values of train/loss")
    await expect(loss).to_have_attribute("aria-valuetext", re.compile(r"^step \d+: [\d.]+$"))
    await expect(page.locator(".log-lines")).to_contain_text("step 1")
    await opened.check_accessible()
    before = step_of(await loss.get_attribute("aria-valuetext"))
    await expect(loss).to_have_attribute("aria-valuetext", re.compile(f"^step (?!{before}:)"))
    stop.touch()
    await server.ended(task_id)
    await page.get_by_label("Curves beside the log").uncheck()
    await expect(curves).to_have_count(0)
    await page.get_by_role("link", name="Curves").click()
    last = (await server.rest.get(f"/v1/runs/{task_id.replace('-', '')}")).json["metrics"][0]
    await expect(page.get_by_role("slider", name="Values of train/loss")).to_have_attribute(
        "aria-valuetext", re.compile(f"^step {last['step']:.0f}: ")
    )
    await visit(page, server, "")
    results = page.get_by_role("region", name="Latest results")
    await expect(results).to_contain_text("val/loss 2")


def step_of(text: str | None) -> int:
    found = re.match(r"step (\d+):", text or "")
    assert found is not None, text
    return int(found[1])
