"""Every view: accessible, in light and dark, on a phone and on a desk, whatever it shows.

`FETCHML_SCREENSHOTS=DIR .venv/bin/pytest tests/ui/test_every_view.py` keeps a picture of each.
"""

import math
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.support.archives import archive
from tests.support.busy_host import BusyHost
from tests.support.logged_runs import start_run
from tests.support.program import Backend, Server
from tests.support.server_fixtures import serving
from tests.support.signed_in import sign_in, visit
from tests.support.tab import AXE, DESKTOP, PHONE, Tab
from tests.support.waiting import until
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

SCREENSHOTS = os.environ.get("FETCHML_SCREENSHOTS")

PLANT = (
    "<script>executed('script')</script><img src=x onerror=\"executed('img')\">"
    "<svg onload=\"executed('svg')\"></svg>javascript:executed('link')\u202e"
)
"""Shown by every view that shows anything of a task."""

WRITES = r"""
printf '\033[31mred\033[0m \033]8;;javascript:executed(1)\033\\link\033]8;;\033\\\n' "$1"
printf '%s\n' "$PLANT"
printf '%s' "$PLANT" > "$FETCHML_OUTPUTS/page.html"
printf '<svg xmlns="http://www.w3.org/2000/svg" onload="executed(1)">%s</svg>' "$PLANT" \
  > "$FETCHML_OUTPUTS/picture.svg"
cp "$FETCHML_OUTPUTS/page.html" "$FETCHML_OUTPUTS/picture.png"
printf 'a,%s\n%s,2\n' "$PLANT" "$PLANT" > "$FETCHML_OUTPUTS/table.csv"
printf '{"<b>": "</script>"}' > "$FETCHML_OUTPUTS/metrics.json"
: > "$FETCHML_OUTPUTS/<img src=x onerror=executed(2)>.txt"
echo "$PLANT" >&2
exit 3
"""


async def plant(server: Server) -> str:
    """A task in which everything that a user can write is hostile. Returns its id, once ended."""
    task_id = await server.submit(
        WRITES,
        job_name="hostile",
        args=f"'{PLANT.replace(chr(39), '')}'",
        env={"PLANT": PLANT},
        metadata={"note": PLANT, "<b>key</b>": "value"},
        max_retries=1,
    )
    await server.ended(task_id)
    return task_id


async def plant_sweep(server: Server) -> str:
    """A held sweep in which everything that a user can write is hostile. Returns its id."""
    task = {"job_name": "swept", "command": ["echo", "{lr}"], "hold": True}
    request = {"name": PLANT[:128], "task": task, "parameters": {"lr": {"values": [PLANT, "2"]}}}
    return str((await server.rest.submit(request, "/v1/sweeps")).json["id"])


async def plant_environment(server: Server) -> None:
    """An environment whose file has a hostile name."""
    file = "<img src=x onerror=executed(3)>.txt"
    snapshot = await server.rest.ask("PUT", "/v1/snapshots", archive({file: b"# no packages\n"}))
    task_id = await server.submit(
        "true", snapshot_id=snapshot.json["id"], environment={"requirements": file}
    )
    await server.ended(task_id)


async def plant_run(server: Server) -> str:
    """A run in which everything that a user can write is hostile. Returns its id."""
    run = await start_run(server, PLANT)
    await run.log({PLANT: [1, 2, math.nan], f"val/{PLANT}": [1]}, params={PLANT: PLANT})
    return run.id


ADMIN = ("keys", "use", "storage", "audit", "host")


def views(task_id: str, sweep_id: str, run_id: str) -> dict[str, str]:
    """Name of the picture → address."""
    files = ("page.html", "picture.svg", "picture.png", "table.csv", "metrics.json")
    return {
        "overview": "",
        "tasks": "tasks?user=*",
        "tasks-columns": "tasks?user=*&columns=status,task,why,user,needs,priority,labels",
        "task": f"tasks/{task_id}",
        "task-usage": f"tasks/{task_id}?tab=usage",
        "task-details": f"tasks/{task_id}?tab=details",
        "task-curves": f"tasks/{task_id}?tab=curves",
        **{f"task-{name}": f"tasks/{task_id}?tab=outputs&file={name}" for name in files},
        "submit": f"submit?from={task_id}",
        "experiments": "experiments",
        "runs": "runs",
        "run": f"runs/{run_id}",
        "run-unknown": "runs/none",
        "sql": "sql",
        "sweeps": "sweeps",
        "sweep": f"sweeps/{sweep_id}",
        "compare": f"compare?task={task_id}&task={task_id}x&all=1",
        "compare-run": f"compare?task={task_id}&run={run_id}&all=1",
        "gpus": "gpus",
        "secrets": "secrets",
        "notifications": "notifications",
        "jupyter": "jupyter",
        **{f"admin-{part}": f"admin?part={part}" for part in ADMIN},
        "not-found": "no/such/view",
    }


class Planted(NamedTuple):
    server: Server
    task_id: str
    sweep_id: str
    run_id: str


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def planted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Planted]:
    async with serving(tmp_path_factory.mktemp("planted")) as serve:
        server = await serve(Backend({"FETCHML_LAUNCHER": "process"}, lambda: ())).start()
        task_id = await plant(server)
        await server.submit_running("echo ready; sleep 1000", job_name="runs", timeout_seconds=3600)
        await plant_environment(server)
        yield Planted(server, task_id, await plant_sweep(server), await plant_run(server))


async def test_every_view(planted: Planted, tab: OpenTab) -> None:
    """Full of what must not run."""
    opened = await tab()
    await sign_in(opened, planted.server)
    shown = views(planted.task_id, planted.sweep_id, planted.run_id)
    await look_at(opened, planted.server, shown, {"dark": PHONE})


async def test_every_view_of_a_busy_host(busy: BusyHost, tab: OpenTab) -> None:
    """Full of what people look at: GPUs with a history, charts, runs with results. Of these views
    there are pictures."""
    # A chart needs two samples.
    usage = f"/v1/tasks/{busy.ids['trains']}/usage"
    await until(
        lambda: busy.server.rest.get(usage), lambda reply: len(reply.json.get("points", [])) > 1
    )
    opened = await tab()
    await sign_in(opened, busy.server)
    await look_at(opened, busy.server, busy.views(), {"light": DESKTOP, "dark": PHONE}, SCREENSHOTS)


async def look_at(
    tab: Tab,
    server: Server,
    shown: Mapping[str, str],
    sizes: Mapping[Literal["light", "dark"], tuple[int, int]],
    pictures: str | None = None,
) -> None:
    """`shown`: name of the view → address. `sizes`: colours → size of the screen, one after the
    other in each view. `pictures`: the folder for its pictures."""
    page = tab.page
    # Each view is another document: so it takes less than to send the script to each.
    await tab.context.add_init_script(path=AXE)
    for name, path in shown.items():
        await visit(page, server, path)
        for colours, (width, height) in sizes.items():
            await page.emulate_media(color_scheme=colours)
            await page.set_viewport_size({"width": width, "height": height})
            await expect(page.locator("main h1")).to_have_count(1)
            await expect(page.locator(".loading")).to_have_count(0)
            await tab.check_accessible()
            await fits(page, name)
            if pictures:
                await page.screenshot(path=Path(pictures) / f"{name}-{width}-{colours}.png")


async def fits(page: Page, name: str) -> None:
    """The page itself never scrolls sideways."""
    sizes = await page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert sizes[0] <= sizes[1], (name, sizes)
