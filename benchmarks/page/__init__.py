"""The page in a real browser, on the server's own cores: paint, pauses, scrolling, a long log, and
what open tabs cost the others."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.async_api import Page, expect

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, median
from benchmarks.history_fill import fill
from benchmarks.page import requests, tabs
from benchmarks.page.signed_in import signed_in
from benchmarks.processes import NO_QUOTAS, Server, fetchml, scratch_folder
from testbed.browser import chromium

HISTORY = 100_000
CHANGES_A_SECOND = 100
ROUNDS = 5
SECONDS = 10
LOG_MB = 100
ROWS = 10_000
PAINT_MS, PAUSE_MS, LOG_MS, FRAMES = 1000, 50, 1000, 50
WATCHING: dict[str, object] = {"job_name": "watched", "command": ["sleep", "600"]}

# READ scrolls down until enough rows are loaded. SCROLL then scrolls from the top to the end in the
# given seconds, and counts the frames.
READ = """async (rows) => {
  const box = document.querySelector(".virtual");
  while (box.scrollHeight < 36 * rows) {
    box.scrollTop = box.scrollHeight;
    await new Promise(requestAnimationFrame);
  }
  box.scrollTop = 0;
}"""
SCROLL = """async (seconds) => {
  const box = document.querySelector(".virtual");
  const began = performance.now();
  let frames = 0, past = 0;
  while (past < 1) {
    await new Promise(requestAnimationFrame);
    frames++;
    past = (performance.now() - began) / (1000 * seconds);
    box.scrollTop = Math.min(1, past) * box.scrollHeight;
  }
  return frames / seconds;
}"""


def run() -> Benchmark:
    with scratch_folder() as folder:
        data_dir = folder / "data"
        fill(data_dir, ended=HISTORY, queued=0, ids=1)
        with (
            fetchml(
                data_dir,
                tasks_max_running="2",
                tasks_log_bytes=str(2 * LOG_MB << 20),
                **NO_QUOTAS,
            ) as server,
            Client(server.http) as client,
        ):
            watched = client.ask("POST", "/v1/tasks", WATCHING)["id"]
            client.await_status(watched, "running")
            yield from asyncio.run(_in_browser(server, client))
        yield from requests.run(folder)
        yield from tabs.run(folder)


async def _in_browser(server: Server, client: Client) -> list[Figure]:
    async with chromium() as browser:
        context = await signed_in(browser, server)
        page = await context.new_page()
        return [
            await _paint(page, server),
            await _long_log(page, server, client),  # While a slot is free for its task.
            await _pauses(page, server),
            await _scrolling(page, server),
        ]


async def _paint(page: Page, server: Server) -> Figure:
    times = []
    for _ in range(ROUNDS):
        await page.goto(f"http://{server.http}/ui/")
        await expect(page.locator("main .task-link").first).to_be_visible()
        times.append(await page.evaluate("window.usefulAt"))
    return _at_most(f"page: first useful paint, {HISTORY:,} tasks in the history", times, PAINT_MS)


async def _pauses(page: Page, server: Server) -> Figure:
    """The longest task of the main thread while the visible tasks change."""
    with Client(server.http) as client:
        ids = [client.ask("POST", "/v1/tasks", WATCHING)["id"] for _ in range(50)]
    longest = []
    for _ in range(ROUNDS):
        await page.goto(f"http://{server.http}/ui/tasks?user=*")
        await expect(page.locator(".task-row").first).to_be_visible()
        with _changing(server, ids) as changes:
            await page.evaluate("window.longest = 0")
            await asyncio.sleep(SECONDS)
            longest.append(await page.evaluate("window.longest"))
    rate = sum(changes) / SECONDS
    # No task may be longer: the slowest round counts, not the median.
    return Figure(
        f"page: longest pause in {ROUNDS} rounds with {rate:.0f} changes a second",
        "",
        f"{max(longest):.0f} ms (median {median(longest):.0f} ms; 0: none over 50 ms)",
        f"≤ {PAUSE_MS} ms",
        max(longest) <= PAUSE_MS,
    )


@contextmanager
def _changing(server: Server, ids: list[str]) -> Iterator[list[int]]:
    """Change the labels of tasks at a steady rate. Gives the number of changes in a list."""
    stop = threading.Event()
    done = [0]

    def change() -> None:
        due = time.monotonic()
        with Client(server.http) as client:
            while not stop.wait(max(0.0, due - time.monotonic())):
                due += 1 / CHANGES_A_SECOND
                body: dict[str, object] = {"metadata": {"step": str(done[0])}}
                client.ask("PATCH", f"/v1/tasks/{ids[done[0] % len(ids)]}", body)
                done[0] += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


async def _scrolling(page: Page, server: Server) -> Figure:
    await page.goto(f"http://{server.http}/ui/tasks?user=*")
    await expect(page.locator(".task-row").first).to_be_visible()
    await page.evaluate(READ, ROWS)
    frames = await page.evaluate(SCROLL, 3 * SECONDS)
    return Figure(
        f"page: {ROWS:,} rows scrolled in {3 * SECONDS} s",
        "",
        f"{frames:.0f} frames/s",
        f"≥ {FRAMES} frames/s",
        frames >= FRAMES,
    )


async def _long_log(page: Page, server: Server, client: Client) -> Figure:
    script = f"yes 'epoch 1 loss 0.123456789' | head -c {LOG_MB << 20}; echo; echo the end"
    command: dict[str, object] = {"job_name": "talks", "command": ["sh", "-c", script]}
    task_id = client.ask("POST", "/v1/tasks", command)["id"]
    client.await_status(task_id, "completed")
    times = []
    for _ in range(ROUNDS):
        await page.goto(f"http://{server.http}/ui/tasks/{task_id}")
        await expect(page.get_by_text("the end")).to_be_visible()
        times.append(await page.evaluate("performance.now()"))
    return _at_most(f"page: a log of {LOG_MB} MB, open at its end", times, LOG_MS)


def _at_most(claim: str, times: list[float], limit: float) -> Figure:
    measured = f"{median(times):.0f} ms ({min(times):.0f} to {max(times):.0f})"
    return Figure(claim, "", measured, f"≤ {limit:g} ms", median(times) <= limit)
