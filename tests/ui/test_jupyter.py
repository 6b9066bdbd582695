"""Jupyter services on the page. What runs in their place is a stand-in."""

import sys
from pathlib import Path

import pytest
from playwright.async_api import expect

from fetchml.core.model import Role
from tests.support.program import Backend
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in
from tests.support.waiting import until
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

IDLE_SECONDS = 8
"""The warning comes after three quarters of it."""
BUSY = '[{"execution_state": "busy", "last_activity": "2001-01-01T00:00:00Z"}]'
FAKE = Path(__file__).parents[1] / "support" / "fake_jupyter.py"
COMMAND = f"{sys.executable} {FAKE} --plain-process"
HOSTILE = "<img src=x onerror=executed(1)>"


async def test_service_is_started_opened_and_stopped(
    serve: Serve, processes_backend: Backend, tab: OpenTab
) -> None:
    server = await serve(processes_backend, FETCHML_JUPYTER_COMMAND=COMMAND).start()
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="Jupyter", exact=True).click()
    await page.get_by_role("button", name="Start a service").click()
    await page.get_by_role("textbox", name="GPUs").fill("many")
    await page.get_by_label("Name").fill(HOSTILE)
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(page.locator("#service-gpu-error")).to_have_text("must be an integer")
    await page.get_by_role("textbox", name="GPUs").fill("")
    await page.get_by_role("button", name="Start", exact=True).click()
    row = page.get_by_role("listitem").filter(has_text=HOSTILE)
    await expect(row.get_by_text("running", exact=True)).to_be_visible()
    address = await row.get_by_role("link", name="Open").get_attribute("href")
    assert address is not None
    assert "/lab?token=" in address
    await opened.check_accessible()

    # Others see that it is there, and neither its token nor a button that would be refused.
    other = await sign_in(await tab(), server, await server.key("eve", Role.USER), at="jupyter")
    theirs = other.get_by_role("listitem").filter(has_text=HOSTILE)
    await expect(theirs.get_by_text("running", exact=True)).to_be_visible()
    await expect(theirs.get_by_role("link", name="Open")).to_have_count(0)
    await expect(theirs.get_by_role("button", name="Stop")).to_have_count(0)

    await row.get_by_role("button", name="Stop").click()
    await page.locator("dialog").get_by_role("button", name="Stop").click()
    await expect(row.get_by_text("stopped", exact=True)).to_be_visible()
    await expect(row.get_by_role("link", name="Open")).to_have_count(0)


async def test_idle_service_is_shown_with_its_end_until_it_is_used(
    serve: Serve, processes_backend: Backend, tab: OpenTab
) -> None:
    idle_seconds = str(IDLE_SECONDS)
    server = await serve(
        processes_backend,
        FETCHML_JUPYTER_COMMAND=COMMAND,
        FETCHML_JUPYTER_IDLE_SECONDS=idle_seconds,
    ).start()
    made = await server.rest.submit({"name": "w", "workspace": "w"}, "/v1/jupyter/services")
    opened = await tab()
    page = await sign_in(opened, server, at="jupyter")
    row = page.get_by_role("listitem").filter(has_text="running")
    await expect(row).to_be_visible()
    warning = row.get_by_text("Nobody uses it: it will be stopped")
    await expect(warning).to_have_count(0)

    async def warned() -> bool:
        path = f"/v1/jupyter/services/{made.json['id']}?view=full"
        return "stops_at" in (await server.rest.get(path)).json

    await until(warned)
    workspace = server.data_dir / "jupyter" / "w"
    silent = workspace / "silent"
    silent.touch()  # Of a service that is silent the last warning stays: the page has time.
    await expect(warning).to_be_visible()
    await opened.check_accessible()
    (workspace / "kernels.json").write_text(BUSY)
    silent.unlink()
    await expect(warning).to_have_count(0)
    await expect(row).to_be_visible()
