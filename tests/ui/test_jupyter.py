"""Jupyter services on the page. What runs in their place is a stand-in."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.async_api import Route, expect

from fetchml.core.model import Role
from tests.support.program import Backend
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in
from tests.ui.conftest import OpenTab

FAKE = Path(__file__).parents[1] / "support" / "fake_jupyter.py"
HOSTILE = "<img src=x onerror=executed(1)>"


async def test_service_is_started_opened_and_stopped(
    serve: Serve, processes_backend: Backend, tab: OpenTab
) -> None:
    command = f"{sys.executable} {FAKE} --plain-process"
    server = await serve(processes_backend, FETCHML_JUPYTER_COMMAND=command).start()
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

    # Of a service that nobody uses the server says when it will be stopped.
    stops_at = datetime.now(tz=UTC) + timedelta(minutes=9, seconds=30)

    async def idle(route: Route) -> None:
        reply = await route.fetch()
        services = [{**each, "stops_at": stops_at.isoformat()} for each in await reply.json()]
        await route.fulfill(response=reply, json=services)

    await expect(row.get_by_text("Nobody uses it")).to_have_count(0)
    await page.route("**/v1/jupyter/services?*", idle)
    await expect(row.get_by_text("Nobody uses it")).to_contain_text("it will be stopped in 9 min")
    await opened.check_accessible()
    await page.unroute("**/v1/jupyter/services?*")
    await expect(row.get_by_text("Nobody uses it")).to_have_count(0)

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
