"""Make the picture of the page that README shows: `screenshot.py [FILE]` (docs/page.png).

It starts a server of its own on a host with stand-in GPUs, which have been measured for an hour,
gives it work, signs a headless Chromium in, and takes the picture.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.async_api import ViewportSize

from examples import demo
from fetchml.adapters.duckdb.database import open_database
from fetchml.adapters.duckdb.recovery import DatabaseFiles
from testbed.browser import chromium
from testbed.gpu import stand_in

ROOT = Path(__file__).parents[1]
SIZE: ViewportSize = {"width": 1280, "height": 600}
WAIT_MS = 60_000
ENDED = ("baseline", "lr-0_1", "lr-0_01", "augment")
RUNNING = {"resnet-50": 2, "vit-small": 1}
"""Job name → number of its GPUs."""
QUEUED = ("vit-base", "distill", "evaluate")
USE = (93, 88, 71, 0)
MEMORY_MIB = (61_200, 60_800, 34_500, 4)
"""Of each GPU, while the tasks run."""
HISTORY = """
    INSERT INTO gpu_usage
    SELECT $now - 10_000 * i, uuid,
           if(use = 0, 0, least(100, use + 5 * sin(i / 3) + 4 * sin(i * number))),
           memory * (if(i > 200 AND number = 2, 0.5, 1)), 40 + use // 4, 90 + 5 * use, use > 0
    FROM range(360) AS samples(i),
         (SELECT unnest($uuids) AS uuid, unnest($use) AS use, unnest($memory) AS memory,
                 unnest(range(4)) AS number)
"""


def fetchml(*words: str) -> str:
    return subprocess.run(
        [demo.FETCHML, *words], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def remember_an_hour(data_dir: Path) -> None:
    database = open_database(DatabaseFiles.below(data_dir), memory_limit="1GB")
    uuids = [stand_in.uuid(number) for number in range(len(USE))]
    now = time.time_ns() // 1_000_000
    database.cursor().execute(
        HISTORY, {"now": now, "uuids": uuids, "use": list(USE), "memory": list(MEMORY_MIB)}
    )
    database.close()


def submit_work() -> None:
    """Leave tasks in every state: some have ended, one of them badly, some run, some wait."""
    for name in ENDED:
        fetchml("submit", "--wait", "--name", name, "--", "sh", "-c", "echo epoch 1; sleep 1")
    subprocess.run([demo.FETCHML, "submit", "--wait", "--name", "too-large", "--", "false"])  # noqa: PLW1510
    sleeps = ("--timeout", "20m", "--", "sh", "-c", "echo $$; exec sleep 600")
    for name, gpus in RUNNING.items():
        fetchml("submit", "--name", name, "--gpu", str(gpus), *sleeps)
    for name in QUEUED:
        fetchml("submit", "--name", name, "--gpu", "2", *sleeps)
    while len(json.loads(fetchml("ls", "--status", "running", "--json"))["tasks"]) < len(RUNNING):
        pass


def use_gpus(box: stand_in.GpuBox) -> None:
    """Let the tasks that run use their GPUs, and return once the server shows it."""
    lines = [stand_in.gpu(number, use=use) for number, use in enumerate(USE)]
    for gpu, memory in zip(gpus(), MEMORY_MIB, strict=True):
        pids = [fetchml("logs", task_id).strip() for task_id in gpu.get("task_ids", [])]
        lines += [f"process {gpu['uuid']} {pid} {memory}" for pid in pids]
    box.set(*lines)
    while not any(gpu.get("utilisation_percent") for gpu in gpus()):
        time.sleep(1)


def gpus() -> list[dict[str, Any]]:
    return json.loads(fetchml("gpus", "--json"))["gpus"]  # type: ignore[no-any-return]


async def take(link: str, file: Path) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport=SIZE, device_scale_factor=1)
        await page.goto(link)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_text(QUEUED[-1]).first.wait_for(timeout=WAIT_MS)
        await page.wait_for_load_state("networkidle")
        await page.screenshot(path=file)


def main() -> None:
    file = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs/page.png").absolute()
    for name in [name for name in os.environ if name.startswith("FETCHML_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built, data_dir = folder / "built", folder / "data"
        built.mkdir()
        stand_in.build(built)
        box = stand_in.GpuBox(folder / "gpus", built)
        box.set(*map(stand_in.gpu, range(len(USE))))
        os.environ |= box.environment | {"FETCHML_DATA_DIR": str(data_dir)}
        data_dir.mkdir(mode=0o700)
        remember_an_hour(data_dir)
        with demo.server("process", data_dir) as (_, grpc):
            os.environ["FETCHML_SERVER"] = grpc
            submit_work()
            use_gpus(box)
            try:
                asyncio.run(take(fetchml("ui").strip(), file))
            finally:
                fetchml(
                    "cancel",
                    *[
                        task["id"]
                        for status in ("running", "queued")
                        for task in json.loads(fetchml("ls", "--status", status, "--json"))["tasks"]
                    ],
                )
    print(f"{file}: {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
