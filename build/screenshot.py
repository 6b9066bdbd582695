"""Make the picture of the page that README shows: `screenshot.py [FILE]` (docs/page.png).

It starts a server of its own, gives it work, signs a headless Chromium in, and takes the picture.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.async_api import ViewportSize

from examples import demo
from testbed.browser import chromium

ROOT = Path(__file__).parents[1]
SIZE: ViewportSize = {"width": 1280, "height": 800}
WAIT_MS = 60_000
ENDED = ("baseline", "lr-0_1", "lr-0_01", "augment")
RUNNING = ("resnet-50", "vit-small")
QUEUED = ("vit-base", "distill", "evaluate")


def fetchml(*words: str) -> str:
    return subprocess.run(
        [demo.FETCHML, *words], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def submit_work() -> None:
    """Leave tasks in every state: some have ended, one of them badly, some run, some wait."""
    for name in ENDED:
        fetchml("submit", "--wait", "--name", name, "--", "sh", "-c", "echo epoch 1; sleep 1")
    subprocess.run([demo.FETCHML, "submit", "--wait", "--name", "too-large", "--", "false"])  # noqa: PLW1510
    for name in RUNNING:
        fetchml("submit", "--name", name, "--gpu", "1", "--", "sleep", "600")
    for name in QUEUED:
        fetchml("submit", "--name", name, "--gpu", "1", "--", "sleep", "600")
    while len(json.loads(fetchml("ls", "--status", "running", "--json"))["tasks"]) < len(RUNNING):
        pass


async def take(link: str, file: Path) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport=SIZE, device_scale_factor=1)
        await page.goto(link)
        await page.get_by_text(QUEUED[-1]).first.wait_for(timeout=WAIT_MS)
        await page.wait_for_load_state("networkidle")
        await page.screenshot(path=file)


def main() -> None:
    file = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs/page.png").absolute()
    for name in [name for name in os.environ if name.startswith("FETCHML_")]:
        del os.environ[name]
    os.environ["FETCHML_GPU_SLOTS"] = str(len(RUNNING))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FETCHML_DATA_DIR"] = folder
        with demo.server("process", Path(folder)) as (_, grpc):
            os.environ["FETCHML_SERVER"] = grpc
            submit_work()
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
