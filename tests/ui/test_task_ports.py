"""A port of a running task, opened from its page in a real browser."""

import sys

import pytest
from playwright.async_api import expect

from fetchml.core.model import Role
from tests.access.web_server import WEB
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.support.waiting import until_true
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def test_a_port_opens_at_an_origin_of_its_own(server: Server, tab: OpenTab) -> None:
    key = await server.key("ada", Role.USER)
    rest, _ = await server.clients(key)
    body = {"job_name": "serves", "command": [sys.executable, "-c", WEB]}
    task_id = (await rest.submit(body)).json["id"]
    await server.running(task_id)
    port_file = server.data_dir / "tasks" / task_id / "attempts/1/workspace/web-port"
    await until_true(lambda: port_file.exists() and port_file.read_text())
    port = port_file.read_text()

    opened = await tab()
    page = await sign_in(opened, server, key, at=f"tasks/{task_id}")
    await page.get_by_text("Ports", exact=True).click()
    await page.get_by_label("Port", exact=True).fill("many")
    await page.get_by_role("button", name="Get a link").click()
    await expect(page.locator("#task-port-port-error")).to_have_text("port: must be an integer")
    await page.get_by_label("Port", exact=True).fill(port)
    await page.get_by_role("button", name="Get a link").click()
    link = page.get_by_role("link", name=f"Open port {port}")
    await expect(link).to_be_visible()
    await opened.check_accessible()
    async with page.context.expect_page() as opening:
        await link.click()
    theirs = await opening.value
    # Its script has loaded a resource, sent a request and used a WebSocket.
    await expect(theirs.locator("#said")).to_have_text("posted, echoed")
    assert theirs.url.endswith(".localhost:" + server.http_address.rpartition(":")[2] + "/page")
    assert f"{task_id}-{port}." in theirs.url
    seen = await theirs.evaluate("document.cookie")
    assert "fetchml" not in seen
    # Nothing of the server answers there, and the page's own address refuses its scripts.
    main = f"http://{server.http_address}/v1/tasks"
    refused = await theirs.evaluate(
        "url => fetch(url, {credentials: 'include'}).then(() => 'read', () => 'refused')", main
    )
    assert refused == "refused"

    # The visit ends with the session that opened it, and so does all that it holds open.
    await theirs.evaluate(
        """() => new Promise((opened) => {
          const socket = new WebSocket(`ws://${location.host}/socket`);
          socket.onopen = opened;
          window.closed = new Promise((closed) => { socket.onclose = closed });
        })"""
    )
    read = "fetch('/page').then((reply) => reply.status)"
    assert await theirs.evaluate(read) == 200
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    await theirs.evaluate("window.closed")
    assert await theirs.evaluate(read) == 401
    await theirs.close()

    other = await sign_in(await tab(), server, await server.key("eve", Role.USER))
    await visit(other, server, f"tasks/{task_id}")
    await expect(other.get_by_text("Ports", exact=True)).to_have_count(0)
