import asyncio, math, os, random, sys, time
from contextlib import AsyncExitStack
from pathlib import Path
import tempfile
import pytest
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.support.logged_runs import start_run
from tests.ui.conftest import OpenTab
OUT = Path("/tmp/page-shots"); OUT.mkdir(exist_ok=True)

async def test_look(server: Server, tab: OpenTab) -> None:
    r = random.Random(1)
    runs = []
    for n in range(8):
        run = await start_run(server, f"train lr={0.1*(n+1):.1f}")
        runs.append(run.id)
        noise = lambda s: r.gauss(0, s)
        loss = [2 * math.exp(-i / (150 + 30*n)) + 0.05 + noise(0.05) for i in range(700)]
        val = [2 * math.exp(-i / (150 + 30*n)) + 0.15 for i in range(0, 700)]
        nan = [math.nan if 200 < i < 260 or i == 500 else 1 / (i + 1) for i in range(700)]
        await run.log({"train/loss": loss[:400], "val/loss": val[:400]}, params={"lr": str(0.1*(n+1)), "seed": "1"})
        await run.log({"train/loss": loss[400:], "val/loss": val[400:]}, first_step=400)
        await run.log({"train/grad<b>norm</b>": nan})
        await run.log({"lr": [1e-3 * (1 - i / 700) for i in range(700)]})
        if n % 2: await run.end()
    opened = await tab((1440, 900))
    page = await sign_in(opened, server, at="runs")
    await page.wait_for_timeout(500)
    await page.screenshot(path=OUT / "runs.png")
    for name, at in {
        "run": f"runs/{runs[0]}", "run-log": f"runs/{runs[0]}?log=1&smooth=0.9", "run-zoom": f"runs/{runs[0]}?from=100&to=300", "run-time": f"runs/{runs[0]}?x=relative",
        "compare": "compare?" + "&".join(f"run={x}" for x in runs),
        "compare2": f"compare?run={runs[0]}&run={runs[1]}",
    }.items():
        await visit(page, server, at)
        await page.wait_for_timeout(1200)
        if name in ("run", "compare"):
            box = await page.locator(".chart-plot").first.bounding_box()
            if box: await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
            await page.wait_for_timeout(200)
        await page.screenshot(path=OUT / f"{name}.png", full_page=True)
        await opened.check_accessible()
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 360, "height": 800})
    await visit(page, server, f"runs/{runs[0]}")
    await page.wait_for_timeout(800)
    await page.screenshot(path=OUT / "run-phone.png", full_page=True)
    await opened.check_accessible()
