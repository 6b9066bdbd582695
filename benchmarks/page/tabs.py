"""Submits with tabs of the page open on the server's own cores, beside the same without, and beside
a floor: processes that take Chromium's processor time and ask the server nothing."""

import asyncio
import urllib.request
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from playwright.async_api import Browser, expect

from benchmarks.figures import Benchmark, Figure, Load, at_least, median, not_run
from benchmarks.http_load import Request, http_load, why_no_load
from benchmarks.page.processor_use import Use, recorded, spent
from benchmarks.page.signed_in import signed_in
from benchmarks.processes import KEY, NO_QUOTAS, Server, fetchml
from testbed.browser import chromium

TABS = 10
SECONDS = 4
WARM_UP_SECONDS = 1
ROUNDS = 5
RATE = 0.95
# Held: tasks that run take the server's time too, the more for each submit the fewer there are.
CREATE = Request(
    "POST", "/v1/tasks", KEY, {"job_name": "bench", "args": "--epochs 5", "hold": True}
)
ALONE, TABS_OPEN, FLOOR = "alone", "tabs", "floor"
# A server gets slower with its queue. The floor spends what the tabs before it have taken.
ORDERS = (
    (ALONE, TABS_OPEN, FLOOR),
    (TABS_OPEN, FLOOR, ALONE),
    (TABS_OPEN, ALONE, FLOOR),
)


class Side(NamedTuple):
    """A load, and its price."""

    load: Load
    cpu: float
    """Processor time of the server for each submit, in seconds."""


class Round(NamedTuple):
    alone: Side
    tabs: Side
    floor: Side
    reads: float
    """Reads of all tabs in a second."""
    browser: float
    """Processor time of Chromium while the tabs are open, in cores."""


def run(folder: Path) -> Benchmark:
    """Each round has a server of its own, so that no load meets the limit of the queue.

    At the lowest priority the browser takes what the others leave, as if the tabs were on the
    machines of ten people: each has the focus. At equal priority they are on the server's own
    desktop, where one window has the focus, and the loss has all of the browser's work. The ratio
    of the tabs to the floor is what the server itself does for the tabs.
    """
    for idle, priority in ((True, "lowest"), (False, "equal")):
        name = f"page: submits with {TABS} tabs open, Chromium at {priority} priority"
        if (reason := why_no_load()) is not None:
            yield not_run(name, "the same without tabs", reason)
            continue
        (folder / priority).mkdir()
        rounds = asyncio.run(_rounds(folder / priority, idle=idle))
        yield from _figures(name, rounds)


def _figures(name: str, rounds: Sequence[Round]) -> Benchmark:
    without = "the same without tabs"
    same_work = "the same beside Chromium's processor time, spent by others"
    reads = median([each.reads for each in rounds])
    tabs_alone = [(each.tabs.load, each.alone.load) for each in rounds]
    yield at_least(f"{name} (its tabs read {reads:.0f} times a second)", without, tabs_alone, RATE)
    floor_alone = [(each.floor.load, each.alone.load) for each in rounds]
    floor = at_least(f"{name}: the floor", "without it", floor_alone, 0)
    yield floor._replace(target="")
    tabs_floor = [(each.tabs.load, each.floor.load) for each in rounds]
    yield at_least(f"{name}: the server's part", same_work, tabs_floor, RATE)
    yield _processor_time(name, without, [(each.tabs.cpu, each.alone.cpu) for each in rounds])
    yield _processor_time(name, same_work, [(each.tabs.cpu, each.floor.cpu) for each in rounds])
    browser = median([each.browser for each in rounds])
    thousand = median([1e6 * each.browser / each.tabs.load.per_second for each in rounds])
    yield Figure(
        f"{name}: Chromium's processor time",
        "",
        f"{browser:.2f} of a core; {thousand:.0f} ms for 1,000 submits",
        "",
        True,
    )


def _processor_time(name: str, floor: str, sides: Sequence[tuple[float, float]]) -> Figure:
    ratios = [ours / bare for ours, bare in sides]
    used, bare = (1e6 * median(side) for side in zip(*sides, strict=True))
    return Figure(
        f"{name}: the server's processor time for a submit",
        floor,
        f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}): "
        f"{used:.0f} µs against {bare:.0f} µs",
        f"≤ {1 / RATE:.2f}",
        median(ratios) <= 1 / RATE,
    )


async def _rounds(folder: Path, *, idle: bool) -> list[Round]:
    async with chromium(idle=idle) as browser:
        rounds = []
        for number in range(ROUNDS):
            with fetchml(folder / str(number), tasks_max_running="2", **NO_QUOTAS) as server:
                rounds.append(await _round(browser, server, ORDERS[number % 3], idle=idle))
        return rounds


async def _round(browser: Browser, server: Server, order: Sequence[str], *, idle: bool) -> Round:
    await _submit(server, WARM_UP_SECONDS)
    sides: dict[str, Side] = {}
    use: Use = []
    reads = 0.0
    for name in order:
        if name == TABS_OPEN:
            sides[name], reads = await _with_tabs(browser, server, use, TABS if idle else 1)
        else:
            with spent(use, idle=idle) if name == FLOOR else nullcontext():
                sides[name] = await _submit(server)
    cores = sum(map(sum, use)) / SECONDS
    return Round(sides[ALONE], sides[TABS_OPEN], sides[FLOOR], reads, cores)


async def _with_tabs(
    browser: Browser, server: Server, use: Use, focused: int
) -> tuple[Side, float]:
    """The load, and the reads of the tabs in a second. `use`: Chromium's is added to it.
    `focused`: tabs that have the focus."""
    context = await signed_in(browser, server)
    for number in range(TABS):
        tab = await context.new_page()
        if number >= focused:  # The driver gives the focus to all.
            session = await context.new_cdp_session(tab)
            await session.send("Emulation.setFocusEmulationEnabled", {"enabled": False})
        await tab.goto(f"http://{server.http}/ui/tasks?user=*")
        await expect(tab.locator(".live")).to_have_text("Live")
    before = await asyncio.to_thread(_reads, server)
    async with recorded("chrom") as taken:
        side = await _submit(server)
    use += taken
    reads = (await asyncio.to_thread(_reads, server) - before) / SECONDS
    await context.close()
    return side, reads


async def _submit(server: Server, seconds: int = SECONDS) -> Side:
    before = server.cpu_seconds()
    load = await asyncio.to_thread(http_load, server.http, CREATE, 16, seconds)
    return Side(load, (server.cpu_seconds() - before) / load.requests)


def _reads(server: Server) -> float:
    """The number of GET requests that the server has answered."""
    request = urllib.request.Request(
        f"http://{server.http}/metrics", headers={"X-API-Key": KEY}
    )  # http
    with urllib.request.urlopen(request) as reply:  # noqa: S310  # http
        lines = reply.read().decode().splitlines()
    counts = [line for line in lines if line.startswith('fetchml_http_replies_total{method="GET')]
    return sum(float(line.rpartition(" ")[2]) for line in counts)
