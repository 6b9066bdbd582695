"""Every view: accessible, in light and dark, on a phone and on a desk, whatever it shows.

`FETCHML_SCREENSHOTS=DIR .venv/bin/pytest tests/ui/test_every_view.py` keeps a picture of each.
"""

import os
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.contract.schemathesis_archives import archive
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.support.tab import DESKTOP, PHONE
from tests.ui.conftest import OpenTab

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


ADMIN = ("keys", "use", "storage", "audit", "host")


def views(task_id: str, sweep_id: str) -> dict[str, str]:
    """Name of the picture → address."""
    files = ("page.html", "picture.svg", "picture.png", "table.csv", "metrics.json")
    return {
        "overview": "",
        "tasks": "tasks?user=*",
        "tasks-columns": "tasks?user=*&columns=status,task,why,user,needs,priority,labels",
        "task": f"tasks/{task_id}",
        "task-usage": f"tasks/{task_id}?tab=usage",
        "task-details": f"tasks/{task_id}?tab=details",
        **{f"task-{name}": f"tasks/{task_id}?tab=outputs&file={name}" for name in files},
        "submit": f"submit?from={task_id}",
        "experiments": "experiments",
        "sweeps": "sweeps",
        "sweep": f"sweeps/{sweep_id}",
        "compare": f"compare?task={task_id}&task={task_id}x&all=1",
        "gpus": "gpus",
        "secrets": "secrets",
        "notifications": "notifications",
        "jupyter": "jupyter",
        **{f"admin-{part}": f"admin?part={part}" for part in ADMIN},
        "not-found": "no/such/view",
    }


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
async def test_every_view(
    server: Server, tab: OpenTab, size: tuple[int, int], *, dark: bool
) -> None:
    task_id = await plant(server)
    await server.submit_running("echo ready; sleep 1000", job_name="runs", timeout_seconds=3600)
    sweep_id = await plant_sweep(server)
    await plant_environment(server)
    opened = await tab(size, dark=dark)
    page = await sign_in(opened, server)
    for name, path in views(task_id, sweep_id).items():
        await visit(page, server, path)
        await expect(page.locator("main h1")).to_have_count(1)
        await expect(page.locator(".loading")).to_have_count(0)
        await opened.check_accessible()
        await fits(page, name)
        if SCREENSHOTS:
            file = f"{name}-{size[0]}-{'dark' if dark else 'light'}.png"
            await page.screenshot(path=Path(SCREENSHOTS) / file)


async def fits(page: Page, name: str) -> None:
    """The page itself never scrolls sideways."""
    sizes = await page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert sizes[0] <= sizes[1], (name, sizes)


async def test_keyboard_alone_reaches_everything(server: Server, tab: OpenTab) -> None:
    """Every control takes the focus by the Tab key, and shows that it has it."""
    task_id = await plant(server)
    page = await sign_in(await tab(), server)
    for path in ("", "tasks?user=*", f"tasks/{task_id}", f"tasks/{task_id}?tab=outputs"):
        await visit(page, server, path)
        await expect(page.locator(".loading")).to_have_count(0)
        wanted = await page.evaluate(
            "[...document.querySelectorAll('a[href], button, input, select, summary')]"
            ".filter((one) => !one.disabled && one.checkVisibility()).length"
        )
        await page.evaluate("window.reached = new Set(); document.activeElement.blur()")
        for _ in range(wanted + 20):
            await page.keyboard.press("Tab")
            await page.evaluate("reached.add(document.activeElement)")
        missed = await page.evaluate(
            "[...document.querySelectorAll('a[href], button, input, select, summary')]"
            ".filter((one) => !one.disabled && one.checkVisibility() && !reached.has(one))"
            ".map((one) => one.outerHTML.slice(0, 200))"
        )
        assert missed == [], (path, missed)
