"""The overview of a host that is in use."""

import re

import pytest
from playwright.async_api import expect

from tests.support.busy_host import BusyHost
from tests.support.signed_in import sign_in
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def test_gpus_numbers_and_results_are_shown(busy: BusyHost, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, busy.server)
    gpus = page.locator(".gpu-strip").get_by_role("listitem")
    await expect(gpus).to_have_count(4)
    await expect(page.get_by_role("region", name="GPUs")).to_contain_text("1 of 4 free")
    for number, use, memory in zip(
        busy.held, ("87 %", "42 %"), ("59.6 GiB", "23.4 GiB"), strict=True
    ):
        card = gpus.nth(number)
        await expect(card).to_contain_text("in use")
        await expect(card.get_by_role("link", name="trains")).to_be_visible()
        await expect(card.locator(".user")).to_have_text("admin")
        await expect(card.locator(".gpu-holder .muted")).to_contain_text(re.compile(" (s|min)"))
        await expect(card).to_contain_text(use)
        await expect(card).to_contain_text(memory)
        for what in ("Compute", "Memory"):
            line = card.get_by_role("img", name=f"{what} in the last hour").locator("path")
            await expect(line).to_have_attribute("d", re.compile(r"^M\S+ \S+?(L\S+ \S+?){20,}"))
    free, blocked = (number for number in range(4) if number not in busy.held)
    await expect(gpus.nth(free)).to_contain_text("free")
    await expect(gpus.nth(blocked)).to_contain_text("blocked")
    await expect(gpus.nth(blocked).locator(".gpu-reason")).to_contain_text("pid 1")

    numbers = page.get_by_role("list", name="Numbers")
    stats = (await busy.server.rest.get("/v1/queue")).json
    # Three runs and the one that writes; those that fail in `busy_host`.
    assert stats["completed"] >= 4
    assert stats["failed"] == 5
    for name, value in (
        ("running", stats["running"]),
        ("waiting", stats["queued"]),
        ("completed today", stats["completed"]),
        ("failed today", stats["failed"]),
    ):
        await expect(numbers.get_by_role("link", name=name)).to_have_text(f"{value} {name}")
    results = page.get_by_role("region", name="Latest results").get_by_role("listitem")
    # The first run of the experiment ended before these.
    await expect(results).to_have_count(15)
    await expect(results.filter(has_text="Completed").first).to_be_visible()
    failed = results.filter(has_text="Failed")
    await expect(failed).to_have_count(5)
    for name, why in (
        ("exits", "exit code 3"),
        ("killed", "SIGKILL"),
        ("too-long", "timed out after 1 s"),
        ("no-program", "No such file"),
        ("depends", busy.ids["exits"]),
    ):
        await expect(failed.filter(has_text=why)).to_contain_text(name)
    waiting = page.get_by_role("region", name="Queue").get_by_role("listitem")
    await expect(waiting.first).to_contain_text("waits")
    await expect(waiting.first).to_contain_text("2 GPUs")
