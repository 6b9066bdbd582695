"""The form of a new task."""

import pytest
from playwright.async_api import expect

from tests.support.archives import archive
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def test_task_is_submitted_from_the_form(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="Submit", exact=True).click()
    await page.get_by_label("Name").fill("from-the-form")
    await page.get_by_label("Command").fill("sh -c 'echo \"$GREETING\"'")
    await page.get_by_label("Environment variables").fill("GREETING=hello from the page")
    await page.get_by_role("textbox", name="Labels").fill("team=vision")
    await expect(page.get_by_text("The server accepts it")).to_be_visible()
    await opened.check_accessible()
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("from-the-form")
    task_id = page.url.rpartition("/")[2]
    task = await server.ended(task_id)
    assert task.metadata["team"] == "vision"
    log = await server.rest.get(f"/v1/tasks/{task_id}/logs")
    assert log.body == b"hello from the page\n"


async def test_fields_are_checked_by_the_server_while_one_types(
    server: Server, tab: OpenTab
) -> None:
    page = await sign_in(await tab(), server, at="submit")
    name = page.get_by_label("Name")
    await name.fill("two words")
    await expect(page.locator("#task-job_name-error")).to_have_text(
        "must be letters, digits, _ and - only"
    )
    await expect(name).to_have_attribute("aria-invalid", "true")
    await name.fill("one")
    await page.get_by_role("textbox", name="GPUs").fill("many")
    await expect(page.locator("#task-gpu-error")).to_have_text("must be an integer")
    # The server's limits are for requests whose fields are valid.
    await page.get_by_role("textbox", name="GPUs").fill("")
    await page.get_by_label("May idle").check()
    await expect(page.get_by_text("is not allowed on this server")).to_be_visible()
    await page.get_by_label("Command").fill("sh -c 'open")
    await expect(page.locator("#task-command-error")).to_contain_text("is not closed")
    # What is wrong is not sent: the first such field takes the focus.
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_label("Command")).to_be_focused()
    assert (await server.rest.get("/v1/tasks")).json["total"] == 0


async def test_task_is_duplicated_and_edited(server: Server, tab: OpenTab) -> None:
    task_id = await server.submit("exit 0", job_name="first", args="--lr '0.1 x'", priority=7)
    page = await sign_in(await tab(), server, at=f"submit?from={task_id}")
    await expect(page.get_by_label("Name")).to_have_value("first")
    await expect(page.get_by_label("Arguments")).to_have_value("--lr '0.1 x'")
    await expect(page.get_by_label("Priority")).to_have_value("7")
    await page.get_by_label("Name").fill("second")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("second")
    copied = await server.ended(page.url.rpartition("/")[2])
    assert (list(copied.command), copied.args) == (["sh", "-c", "exit 0"], "--lr '0.1 x'")


async def test_code_that_asks_for_a_volume_is_granted_none(server: Server, tab: OpenTab) -> None:
    asks = {"fetchml.toml": b'command = ["true"]\nvolumes = ["models"]\n'}
    kept = await server.rest.ask(
        "PUT", "/v1/snapshots", archive(asks), Content_Type="application/gzip"
    )
    page = await sign_in(await tab(), server, at="submit")
    await page.get_by_label("Name").fill("foreign")
    await page.get_by_label("Code", exact=True).select_option(kept.json["id"])
    refused = page.get_by_text("Submit with --volume models, or leave it out: --without volumes")
    await expect(refused).to_be_visible()
    await page.get_by_label("Leave out").fill("volumes")
    await expect(page.get_by_text("The server accepts it")).to_be_visible()
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("foreign")
    # A copy asks for as little.
    task_id = page.url.rpartition("/")[2]
    await visit(page, server, f"submit?from={task_id}")
    await expect(page.get_by_label("Leave out")).to_have_value("secrets, volumes, notify")
    await expect(page.get_by_text("The server accepts it")).to_be_visible()


async def test_task_is_held_and_starts_after_another(server: Server, tab: OpenTab) -> None:
    first = await server.submit("exit 0", job_name="first")
    await server.ended(first)
    page = await sign_in(await tab(), server, at="submit")
    await page.get_by_label("Name").fill("second")
    await page.get_by_label("Command").fill("sh -c 'ls /inputs; echo done > $FETCHML_CHECKPOINT/x'")
    await page.get_by_role("textbox", name="After", exact=True).fill("nothing")
    await expect(page.locator("#task-after-error")).to_contain_text("nothing")
    await page.get_by_role("textbox", name="After", exact=True).fill(f"{first}:ended")
    await page.get_by_label("Checkpoint folder").check()
    await page.get_by_role("checkbox", name="Hold").check()
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("second")
    await page.get_by_role("button", name="Release").click()
    await server.ended(page.url.rpartition("/")[2])
    await page.get_by_role("link", name="Details").click()
    await expect(page.get_by_role("link", name=first[-8:])).to_be_visible()
    await expect(page.get_by_text("/checkpoint", exact=True)).to_be_visible()


async def test_order_of_a_waiting_task_changes(server: Server, tab: OpenTab) -> None:
    task_id = await server.submit("true", job_name="waits", start_after="2100-01-01T00:00:00Z")
    opened = await tab(timezone_id="Asia/Tokyo")
    page = await sign_in(opened, server, at=f"tasks/{task_id}")
    button = page.get_by_role("button", name="Priority and start")
    await button.click()
    await expect(page.get_by_label("Not before")).to_have_value("2100-01-01T09:00")
    await expect(page.get_by_label("Priority", exact=True)).to_have_value("5")
    await opened.check_accessible()
    await page.get_by_label("Priority", exact=True).fill("9")
    await page.get_by_label("Not before").fill("2100-02-01T09:00")
    await page.get_by_role("button", name="Change the task").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    task = (await server.rest.get(f"/v1/tasks/{task_id}?view=full")).json
    assert (task["priority"], task["start_after"]) == (9, "2100-02-01T00:00:00.000Z")
    await button.click()
    await page.get_by_label("Not before").fill("")
    await page.get_by_role("button", name="Change the task").click()
    await server.ended(task_id)
    await expect(button).to_have_count(0)


async def test_task_may_idle_where_the_server_allows_it(
    serve: Serve, processes_backend: Backend, tab: OpenTab
) -> None:
    server = await serve(processes_backend, FETCHML_GPU_MAY_IDLE="true").start()
    page = await sign_in(await tab(), server, at="submit")
    await page.get_by_label("Name").first.fill("serves")
    await page.get_by_label("Command").fill("true")
    await page.get_by_label("May idle").check()
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("serves")
    task = await server.rest.get(f"/v1/tasks/{page.url.rpartition('/')[2]}?view=full")
    assert task.json["may_idle"] is True
