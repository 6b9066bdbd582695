"""A real TensorBoard in a task, opened from the page in a real browser."""

import re

import pytest
from playwright.async_api import expect

from tests.server.environment_tasks import submit, upload
from tests.support.program import Server
from tests.support.signed_in import sign_in
from tests.support.waiting import until
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

# TensorBoard imports pkg_resources, which later releases of setuptools lack.
REQUIREMENTS = b"tensorboard==2.21.0\nsetuptools<81\n"
TRAIN = b"""
import os, time
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

writer = EventFileWriter("runs")
for step in range(20):
    value = Summary.Value(tag="loss", simple_value=step**2)
    writer.add_event(Event(step=step, wall_time=time.time(), summary=Summary(value=[value])))
writer.close()
options = ["--logdir", "runs", "--host", "127.0.0.1", "--port", "0"]
os.execvp("tensorboard", ["tensorboard", *options])
"""


async def test_a_scalar_chart_is_shown(server: Server, tab: OpenTab) -> None:
    """The tab fails for a script of theirs that our policy forbids, though some need
    `unsafe-eval`."""
    code = await upload(server, requirements_txt=REQUIREMENTS, train_py=TRAIN)
    task_id = await submit(server, code)

    async def port_of_the_log() -> str:
        log = (await server.rest.get(f"/v1/tasks/{task_id}/logs")).body.decode()
        assert not (await server.rest.get(f"/v1/tasks/{task_id}")).json.get("ended_at"), log
        found = re.search(r" at http://127\.0\.0\.1:(\d+)/", log)
        return found.group(1) if found else ""

    port = await until(port_of_the_log)
    page = await sign_in(await tab(), server, at=f"tasks/{task_id}")
    await page.get_by_text("Ports", exact=True).click()
    await page.get_by_label("Port", exact=True).fill(port)
    await page.get_by_role("button", name="Get a link").click()
    async with page.context.expect_page() as opening:
        await page.get_by_role("link", name=f"Open port {port}").click()
    theirs = await opening.value
    # Its components lie in shadow roots, which these selectors enter.
    newest = theirs.locator("scalar-card").locator("tb-data-table-content-row, tb-data-table").last
    await expect(newest.get_by_text("361", exact=True)).to_be_visible()
