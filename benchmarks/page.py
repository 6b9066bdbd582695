"""The page in a real browser, on the server's own cores: paint, pauses, scrolling, a long log, and
what open tabs cost the others."""

import asyncio
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from playwright.async_api import Browser, BrowserContext, Page, expect

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, Load, at_least, median, not_run
from benchmarks.history_fill import fill
from benchmarks.http_load import Request, http_load, why_no_load
from benchmarks.processes import (
    KEY,
    NO_QUOTAS,
    Server,
    fetchml,
    scratch_folder,
    seconds_of_descendants,
)
from testbed.browser import chromium

HISTORY = 100_000
CHANGES_A_SECOND = 100
TABS = 10
TABS_SECONDS = 4
ROUNDS = 5
SECONDS = 10
LOG_MB = 100
ROWS = 10_000
PAINT_MS, PAUSE_MS, LOG_MS, FRAMES, RATE = 1000, 50, 1000, 50, 0.95
# Held: tasks that run take the server's time too, the more for each submit the fewer there are.
CREATE = Request(
    "POST", "/v1/tasks", KEY, {"job_name": "bench", "args": "--epochs 5", "hold": True}
)
WATCHING: dict[str, object] = {"job_name": "watched", "command": ["sleep", "600"]}

# When the first panel with content is there, and every task of the main thread over 50 ms.
OBSERVE = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
}).observe({type: "longtask"});
new MutationObserver(() => {
  if (window.usefulAt === undefined && document.querySelector("main .gpu-card, main .task-link"))
    window.usefulAt = performance.now();
}).observe(document, {subtree: true, childList: true});
"""

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
            yield from _tabs(server)


async def _in_browser(server: Server, client: Client) -> list[Figure]:
    async with chromium() as browser:
        context = await _signed_in(browser, server)
        page = await context.new_page()
        return [
            await _paint(page, server),
            await _long_log(page, server, client),  # While a slot is free for its task.
            await _pauses(page, server),
            await _scrolling(page, server),
        ]


async def _signed_in(browser: Browser, server: Server) -> BrowserContext:
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    await context.add_init_script(OBSERVE)
    page = await context.new_page()
    await page.goto(f"http://{server.http}/ui/")
    await page.get_by_label("API key").fill(KEY)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".live")).to_have_text("Live")
    await page.close()
    return context


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


class TabsRound(NamedTuple):
    """A load with tabs open, and one without beside it."""

    loads: tuple[Load, Load]
    cpu: tuple[float, float]
    """Processor time of the server for each submit, in seconds."""
    reads: float
    """Reads of all tabs in a second."""
    browser: float
    """Processor time of Chromium while the tabs are open, in cores."""


def _tabs(server: Server) -> Benchmark:
    """Submits with tabs open, beside submits without; alternating.

    At the lowest priority the browser takes what the others leave, as if it were on another
    machine: the loss is the server's work for the tabs. At equal priority it is the browser's too,
    so what the server itself does for the tabs is counted as its processor time.
    """
    without = "the same without tabs"
    for idle, priority in ((True, "lowest"), (False, "equal")):
        name = f"page: submits with {TABS} tabs open, Chromium at {priority} priority"
        if (reason := why_no_load()) is not None:
            yield not_run(name, without, reason)
            continue
        rounds = asyncio.run(_rounds(server, idle=idle))
        reads = median([each.reads for each in rounds])
        claim = f"{name} (its tabs read {reads:.0f} times a second)"
        yield at_least(claim, without, [each.loads for each in rounds], RATE)
        ratios = [each.cpu[0] / each.cpu[1] for each in rounds]
        used, alone = (1e6 * median([each.cpu[at] for each in rounds]) for at in (0, 1))
        yield Figure(
            f"page: the server's processor time for a submit, {TABS} tabs, {priority} priority",
            without,
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}): "
            f"{used:.0f} µs against {alone:.0f} µs",
            f"≤ {1 / RATE:.2f}",
            median(ratios) <= 1 / RATE,
        )
        browser = median([each.browser for each in rounds])
        thousand = [1e6 * each.browser / each.loads[0].per_second for each in rounds]
        yield Figure(
            f"page: Chromium's processor time, {TABS} tabs, {priority} priority",
            "",
            f"{browser:.2f} of a core; {median(thousand):.0f} ms for 1,000 submits",
            "",
            True,
        )


async def _rounds(server: Server, *, idle: bool) -> list[TabsRound]:
    async with chromium(idle=idle) as browser:
        rounds = []
        for number in range(ROUNDS):
            # The server gets slower with its queue: the order changes from round to round.
            alone = await _submit(server) if number % 2 else None
            context = await _signed_in(browser, server)
            for _ in range(TABS):
                tab = await context.new_page()
                await tab.goto(f"http://{server.http}/ui/tasks?user=*")
                await expect(tab.locator(".live")).to_have_text("Live")
            before = await asyncio.to_thread(_reads, server)
            begun, used = time.monotonic(), seconds_of_descendants("chrom")
            tabs = await _submit(server)
            cores = (seconds_of_descendants("chrom") - used) / (time.monotonic() - begun)
            reads = (await asyncio.to_thread(_reads, server) - before) / TABS_SECONDS
            await context.close()
            alone = alone or await _submit(server)
            loads, cpu = (tabs[0], alone[0]), (tabs[1], alone[1])
            rounds.append(TabsRound(loads, cpu, reads, cores))
        return rounds


async def _submit(server: Server) -> tuple[Load, float]:
    """The load, and the processor time of the server for each submit in seconds."""
    before = server.cpu_seconds()
    load = await asyncio.to_thread(http_load, server.http, CREATE, 16, TABS_SECONDS)
    return load, (server.cpu_seconds() - before) / load.requests


def _reads(server: Server) -> float:
    """The number of GET requests that the server has answered."""
    request = urllib.request.Request(
        f"http://{server.http}/metrics", headers={"X-API-Key": KEY}
    )  # http
    with urllib.request.urlopen(request) as reply:  # noqa: S310  # http
        lines = reply.read().decode().splitlines()
    counts = [line for line in lines if line.startswith('fetchml_http_replies_total{method="GET')]
    return sum(float(line.rpartition(" ")[2]) for line in counts)


def _at_most(claim: str, times: list[float], limit: float) -> Figure:
    measured = f"{median(times):.0f} ms ({min(times):.0f} to {max(times):.0f})"
    return Figure(claim, "", measured, f"≤ {limit:g} ms", median(times) <= limit)
