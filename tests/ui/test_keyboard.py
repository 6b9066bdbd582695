"""Without a mouse: every control of every view is reached by the Tab key, and acts on Enter."""

import time

import pytest
from playwright.async_api import Page, expect

from tests.support.busy_host import BusyHost
from tests.support.signed_in import sign_in, visit
from tests.support.waiting import SECONDS
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

# Records what takes the focus, and what a key presses. Nothing is carried out: a press ends in the
# document, before any handler of the page.
RECORD = """
const clickable = new Set();
const listen = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (name, ...rest) {
  if (name.toLowerCase() === "click" && this instanceof Element) clickable.add(this);
  return listen.call(this, name, ...rest);
};
window.clickable = clickable;
window.isRecording = false;
window.reached = new Set();
window.pressed = new Set();
listen.call(document, "focusin", (event) => reached.add(event.target), true);
listen.call(document, "click", (event) => {
  if (!isRecording) return;
  pressed.add(event.target.closest("a, button, summary") ?? event.target);
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);
listen.call(document, "keydown", (event) => {
  const isTyped = event.target.closest("input, select, textarea, [role=log]");
  if (isRecording && event.key === "Enter" && isTyped) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}, true);
window.scope = document;
window.controls = () =>
  [...scope.querySelectorAll("a[href], button, input, select, textarea, summary, [role=slider]")]
    .filter((one) => !one.disabled && one.checkVisibility());
window.named = (all) => all.map((one) => one.outerHTML.slice(0, 160));
"""
MISSED = "named(controls().filter((one) => !reached.has(one)))"
UNPRESSED = (
    "named(controls().filter((one) => one.matches('a, button, summary') && !pressed.has(one)))"
)
# What listens to clicks is a control, lies in one, or is the mark of a run in a plot: a link of the
# table beside the plot opens the same run. Charts are sliders for keys.
MOUSE_ONLY = """named([...clickable].filter((one) => one.isConnected && one.checkVisibility()
  && !one.closest("a, button, input, select, summary, label, dialog, [role=slider]")
  && !one.matches(".point, .run-line")))"""

FRAME = "overview"
"""View in which the controls around all views are reached too. In the others the focus begins in
`main`, after them."""


async def press(page: Page, times: int) -> None:
    for _ in range(times):
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")


async def test_keyboard_alone_reaches_everything(busy: BusyHost, tab: OpenTab) -> None:
    opened = await tab()
    await opened.context.add_init_script(RECORD)
    page = await sign_in(opened, busy.server)
    for name, path in busy.views().items():
        if name == "task-shell":
            continue  # A terminal takes the keys while it has the focus: see test_shell.
        await visit(page, busy.server, path)
        await expect(page.locator(".loading")).to_have_count(0)
        if name != FRAME:
            await page.evaluate("scope = document.querySelector('main')")
        await page.evaluate("isRecording = true; document.activeElement.blur(); scope.focus?.()")
        await press(page, await page.evaluate("controls().length"))
        # Some controls take several keys, and what came meanwhile is reached in the next round.
        deadline = time.monotonic() + SECONDS
        while left := await page.evaluate(f"[...{MISSED}, ...{UNPRESSED}]"):
            assert time.monotonic() < deadline, (name, left)
            await press(page, 5)
        assert await page.evaluate(MOUSE_ONLY) == [], name


async def test_each_run_of_a_plot_is_a_link_of_the_table(busy: BusyHost, tab: OpenTab) -> None:
    page = await sign_in(await tab(), busy.server, at=f"experiments/{busy.ids['experiment']}")
    for run in busy.runs:
        link = page.get_by_role("table").locator(f"a[href$='{run}']")
        await expect(link.first).to_be_visible()
