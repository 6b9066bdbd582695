"""What a task's page shows of a task with a log in colours, outputs of each kind, and samples."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.busy_host import BusyHost
from tests.support.program import ADMIN_KEY
from tests.support.signed_in import sign_in, visit
from tests.support.waiting import SECONDS, soon, until
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

SECONDS_BEFORE = """([at, shown]) => {
  const [h, m, s] = shown.split(":").map(Number), end = new Date(at);
  const seconds = (end.getHours() - h) * 3600 + (end.getMinutes() - m) * 60 + end.getSeconds() - s;
  return (seconds + 86400) % 86400;
}"""
"""Return by how much a time of day precedes a time."""
CLIPBOARD = ["clipboard-read", "clipboard-write"]


async def colour(place: Locator) -> tuple[int, int, int]:
    """Red, green and blue of its text."""
    text = await place.evaluate("(one) => getComputedStyle(one).color")
    red, green, blue = (int(part) for part in text[4:-1].split(","))
    return red, green, blue


async def test_log_has_colours_times_wrap_and_download(busy: BusyHost, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, busy.server, at=f"tasks/{busy.ids['writes']}")
    log = page.get_by_role("log")
    red = log.get_by_text("red", exact=True)
    await expect(red).to_have_css("font-weight", "700")
    (r, g, b), (r2, g2, b2) = await colour(red), await colour(log.get_by_text("green", exact=True))
    assert r > max(g, b)
    assert g2 > max(r2, b2)
    plain = await colour(log.get_by_text("the end"))
    assert plain not in ((r, g, b), (r2, g2, b2))
    await expect(log).not_to_contain_text("\033")

    long = page.locator(".log-line").filter(has_text="1 2 3 4 5")
    one = page.locator(".log-line").filter(has_text="the end")

    async def lines() -> float:
        height = "(line) => line.getBoundingClientRect().height"
        return round(float(await long.evaluate(height)) / float(await one.evaluate(height)), 1)

    wrap = page.get_by_role("button", name="Wrap")
    await expect(wrap).to_have_attribute("aria-pressed", "true")
    assert await lines() >= 2
    await wrap.click()
    await expect(wrap).to_have_attribute("aria-pressed", "false")
    assert await lines() == 1
    assert await log.evaluate("(log) => log.scrollWidth > log.clientWidth")

    await expect(page.locator(".log-time")).to_have_count(0)
    await page.get_by_role("button", name="Times").click()
    time = one.locator(".log-time")
    written = await time.evaluate(
        "async (time) => { while (!time.textContent) await new Promise(requestAnimationFrame);"
        " return time.textContent; }"
    )
    ended = (await busy.server.rest.get(f"/v1/tasks/{busy.ids['writes']}")).json["ended_at"]
    early = await page.evaluate(SECONDS_BEFORE, [ended, written])
    assert 0 <= early < 10, (ended, written)

    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download", exact=True).click()
    file = await download.value
    assert file.suggested_filename == "writes.log"
    whole = await busy.server.rest.get(f"/v1/tasks/{busy.ids['writes']}/logs")
    kept = await asyncio.to_thread(Path(await file.path()).read_bytes)
    assert kept == whole.body
    assert b"\033[1;31mred" in whole.body


async def test_each_kind_of_output_has_its_preview(busy: BusyHost, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, busy.server)
    await visit(page, busy.server, f"tasks/{busy.ids['writes']}?tab=outputs&file=tone.wav")
    seconds = await page.locator("audio").evaluate(
        "async (sound) => { while (!(sound.duration > 0)) await new Promise(requestAnimationFrame);"
        " return sound.duration; }"
    )
    assert seconds == 0.5
    await page.get_by_role("button", name="notes.txt", exact=True).click()
    await expect(page.locator(".preview-text")).to_have_text("plain\n<i>text</i>\n")
    await page.get_by_role("button", name="metrics.json", exact=True).click()
    await expect(page.locator(".preview-text")).to_have_text(
        '{\n  "accuracy": 0.93,\n  "loss": 0.25\n}'
    )
    await page.get_by_role("button", name="history.csv", exact=True).click()
    table = page.get_by_role("region", name="history.csv")
    await expect(table.get_by_role("columnheader")).to_have_text(["epoch", "loss"])
    await expect(table.get_by_role("cell")).to_have_text(["1", "0.5", "2", "<b>0.25</b>"])
    await expect(table.locator(".number-cell")).to_have_count(3)
    await opened.check_accessible()


ADVICE = {
    "exits": "The end of the log shows why the command gave up.",
    "killed": "The command was ended from outside of the server, or crashed.",
    "too-long": "Give it more time than 1 second, or let it continue from a checkpoint.",
    "no-program": "Check the command: the program must be in the image and executable.",
    "depends": "Run the task that the error names again",
}


async def test_each_failure_says_what_to_do(busy: BusyHost, tab: OpenTab) -> None:
    page = await sign_in(await tab(), busy.server)
    for name, said in ADVICE.items():
        await visit(page, busy.server, f"tasks/{busy.ids[name]}")
        await expect(page.locator(".summary-failed .muted").first).to_contain_text(said)


async def copied(page: Page, button: Locator) -> str:
    await button.click()
    await expect(page.get_by_text("Copied the command").last).to_be_visible()
    return str(await page.evaluate("navigator.clipboard.readText()"))


async def run(busy: BusyHost, *command: str) -> bytes:
    """Run a command as a person with an own terminal would. Returns its output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {"FETCHML_SERVER": busy.server.grpc_address, "FETCHML_API_KEY": ADMIN_KEY}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **variables, "PATH": path},
    )
    output, errors = await soon(process.communicate())
    assert process.returncode == 0, (command, errors.decode())
    return output


async def test_copied_commands_run(busy: BusyHost, tab: OpenTab) -> None:
    """Those of a task, and those of the form for a task and for a sweep."""
    page = await sign_in(await tab(permissions=CLIPBOARD), busy.server)
    await visit(page, busy.server, f"tasks/{busy.ids['writes']}?tab=details")
    section = page.get_by_role("region", name="Commands")
    buttons = section.get_by_role("button", name="Copy the command")
    await expect(buttons).to_have_count(4)
    commands = [await copied(page, button) for button in await buttons.all()]
    log = (await busy.server.rest.get(f"/v1/tasks/{busy.ids['writes']}/logs")).body
    follow, show, curl, python = await asyncio.gather(
        *(run(busy, "sh", "-c", command) for command in commands[:3]),
        run(busy, sys.executable, "-c", commands[3]),
    )
    assert b"the end" in follow
    assert b"completed" in show
    assert curl == log
    assert b"the end" in python

    await visit(page, busy.server, "submit")
    await page.locator("#task-job_name").fill("from-a-copy")
    await page.get_by_label("Command").fill("sh -c 'echo \"it is $0\" {lr}' copied")
    await page.get_by_role("textbox", name="Labels").fill("note=two words")
    for parameters, kind in (("", "submit"), ("lr=0.1,0.2", "sweep create")):
        await page.get_by_label("Values of parameters").fill(parameters)
        await expect(page.get_by_role("status").get_by_text("accepts it")).to_be_visible()
        await expect(page.locator(".command code")).to_contain_text(f"fetchml {kind}")
        await page.locator(".forecast details").evaluate("(one) => { one.open = true; }")
        command = await copied(page, page.get_by_role("button", name="Copy the command"))
        made = (await run(busy, "sh", "-c", command)).decode().split()[0]
        if parameters:
            found = (await busy.server.rest.get(f"/v1/sweeps/{made}")).json
            assert (found["name"], found["total"]) == ("from-a-copy", 2)
            continue
        task = await busy.server.ended(made)
        assert task.metadata["note"] == "two words"
        output = await busy.server.rest.get(f"/v1/tasks/{made}/logs")
        assert output.body == b"it is copied {lr}\n"


async def drawn(chart: Locator, name: str) -> int:
    """Number of pixels that the canvas has in this colour of the theme."""
    script = """(chart, name) => {
      const canvas = chart.querySelector("canvas"), probe = document.createElement("i");
      probe.style.color = `var(--${name})`;
      chart.append(probe);
      const [r, g, b] = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
      probe.remove();
      const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let found = 0;
      for (let at = 0; at < data.length; at += 4)
        if (data[at + 3] > 200 && Math.abs(data[at] - r) + Math.abs(data[at + 1] - g)
            + Math.abs(data[at + 2] - b) < 30) found++;
      return found;
    }"""
    return int(await chart.evaluate(script, name))


async def test_charts_draw_what_was_sampled(busy: BusyHost, tab: OpenTab) -> None:
    task_id = busy.ids["trains"]
    path = f"/v1/tasks/{task_id}/usage"
    # A sample every ten seconds; a line needs two.
    async with asyncio.timeout(SECONDS):
        await until(
            lambda: busy.server.rest.get(path), lambda reply: len(reply.json.get("points", [])) > 1
        )
    opened = await tab(dark=True)
    page = await sign_in(opened, busy.server, at=f"tasks/{task_id}?tab=usage")
    for label, name, value in (
        ("CPU cores", "running", r"^\d+\.\d$"),
        ("Memory", "preparing", r"^[\d.]+ MiB$"),
        ("GPU utilisation", "running", r"^\d+ %$"),
        ("GPU memory", "running", r"^[\d.]+ GiB$"),
    ):
        chart = page.get_by_role("figure", name=label, exact=True)
        await expect(chart.locator(".chart-value").first).to_have_text(re.compile(value))
        assert await drawn(chart, name) > 50, label
    utilisation = page.get_by_role("figure", name="GPU utilisation")
    await expect(utilisation.locator(".chart-value")).to_have_text(["87 %", "42 %"])
    read = re.compile(r": \S.* 87 %, \S.* 42 %$")
    await expect(utilisation.get_by_role("slider")).to_have_attribute("aria-valuetext", read)
    # By keyboard, one goes from sample to sample, as with the pointer.
    cores = page.get_by_role("figure", name="CPU cores").get_by_role("slider")
    await cores.focus()
    newest = await cores.get_attribute("aria-valuetext")
    await page.keyboard.press("Home")
    await expect(cores).to_have_attribute("aria-valuenow", "0")
    await expect(cores).not_to_have_attribute("aria-valuetext", str(newest))
    await page.keyboard.press("ArrowRight")
    await expect(cores).to_have_attribute("aria-valuenow", "1")
    await page.keyboard.press("Control+Home")
    await expect(cores).to_have_attribute("aria-valuenow", "1")  # That key is the browser's.
    await expect(page.get_by_role("figure", name="Disk")).to_be_visible()
    await opened.check_accessible()
