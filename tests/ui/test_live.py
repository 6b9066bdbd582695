"""What happens elsewhere appears on the page, also after a cut."""

from collections.abc import Callable

import pytest
from playwright.async_api import Page, WebSocketRoute, expect

from fetchml.v1 import task_pb2
from tests.support.program import Server
from tests.support.signed_in import sign_in, visit
from tests.support.waiting import until_true
from tests.ui.conftest import OpenTab


async def test_changes_appear_by_themselves(server: Server, tab: OpenTab) -> None:
    page = await sign_in(await tab(), server)
    running = page.get_by_role("region", name="Running")
    await expect(running).to_contain_text("Nothing runs.")
    task_id = await server.submit_running("sleep 1000", job_name="appears")
    await expect(running).to_contain_text("appears")
    await visit(page, server, "tasks")
    row = page.get_by_role("row").filter(has_text="appears")
    await expect(row).to_contain_text("running")
    assert (await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")).status == 204
    await expect(row).to_contain_text("cancelled")


async def cuts(page: Page) -> Callable[[], list[WebSocketRoute]]:
    """Put something between the page and `/ws` that a test can close. Returns what is open."""
    connections: list[WebSocketRoute] = []

    def connect(route: WebSocketRoute) -> None:
        route.connect_to_server()
        connections.append(route)

    await page.route_web_socket("**/ws?*", connect)
    return lambda: connections


@pytest.mark.slow
async def test_page_says_when_it_is_not_live_and_misses_nothing(
    server: Server, tab: OpenTab
) -> None:
    opened = await tab()
    connections = await cuts(opened.page)
    page = await sign_in(opened, server)
    await server.submit_running("sleep 1000", job_name="before-the-cut")
    running = page.get_by_role("region", name="Running")
    await expect(running).to_contain_text("before-the-cut")

    await opened.context.set_offline(True)
    await connections()[-1].close(code=1011)
    await expect(page.locator(".live")).to_contain_text("Not live")
    await server.submit_running("sleep 1000", job_name="during-the-cut")
    await opened.context.set_offline(False)
    await expect(page.locator(".live")).to_have_text("Live")
    await expect(running).to_contain_text("during-the-cut")
    await until_true(lambda: len(connections()) > 1)
    assert "since=9007199254740991" not in connections()[-1].url


@pytest.mark.slow
async def test_no_end_is_missed_while_very_much_changes(server: Server, tab: OpenTab) -> None:
    """More than a batch holds: the page then reads again what it shows."""
    script = "until [ -e go ]; do sleep 0.02; done"
    task_id = await server.submit_running(script, job_name="ends-meanwhile")
    page = await sign_in(await tab(), server, at="tasks?name=ends")
    row = page.get_by_role("row").filter(has_text="ends-meanwhile")
    await expect(row).to_contain_text("running")
    await submit_held(server, 300)
    server.tell(task_id)
    await server.ended(task_id)
    await submit_held(server, 300)
    await expect(row).to_contain_text("completed")
    await visit(page, server, "tasks")
    await expect(page.get_by_role("main")).to_contain_text("601 tasks")
    await submit_held(server, 300)
    await expect(page.get_by_role("main")).to_contain_text("901 tasks")


async def submit_held(server: Server, number: int) -> None:
    request = task_pb2.CreateTaskRequest(job_name="many", hold=True)
    batch = task_pb2.CreateTasksRequest(tasks=[request] * number)
    await server.grpc.tasks.CreateTasks(iter([batch]), metadata=server.grpc.metadata)


async def test_page_stays_while_the_server_is_away(server: Server, tab: OpenTab) -> None:
    await server.submit_running("sleep 1000", job_name="still-shown")
    page = await sign_in(await tab(), server)
    running = page.get_by_role("region", name="Running")
    await expect(running).to_contain_text("still-shown")
    await server.stop()
    await expect(page.locator(".live")).to_contain_text("Not live")
    await expect(running).to_contain_text("still-shown")
