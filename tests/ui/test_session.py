"""Signing in and out, and what ends a session."""

from playwright.async_api import expect

from fetchml.core.model import Role
from fetchml.v1 import key_pb2
from tests.support import grpc_world
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab


async def test_sign_in_and_out(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, server)
    await opened.check_accessible()
    await page.reload()
    await expect(page.locator(".live")).to_have_text("Live")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("API key")).to_be_visible()


async def test_wrong_key_is_refused(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    page = opened.page
    await page.goto(f"http://{server.http_address}/ui/")
    await page.get_by_label("API key").fill("<b>wrong</b>")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    await opened.check_accessible()


async def test_key_is_not_kept(server: Server, tab: OpenTab) -> None:
    page = await sign_in(await tab(), server, secret := await server.key("ada", Role.USER))
    kept = await page.evaluate(
        "JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}, "
        "document.documentElement.outerHTML, "
        "[...document.querySelectorAll('input')].map((field) => field.value)])"
    )
    assert secret not in kept


async def test_revoked_key_ends_the_session(server: Server, tab: OpenTab) -> None:
    page = await sign_in(await tab(), server, await server.key("ada", Role.USER))
    control = grpc_world.Client(f"unix:{server.data_dir}/control.sock", None)
    try:
        listed = await control.keys.ListKeys(key_pb2.ListKeysRequest())
        key_id = next(key.id for key in listed.keys if key.name == "ada")
        await control.keys.RevokeKey(key_pb2.RevokeKeyRequest(key_id=key_id))
    finally:
        await control.channel.close()
    await expect(page.get_by_label("API key")).to_be_visible()
    await expect(page.get_by_text("The session has ended")).to_be_visible()


async def test_viewer_sees_nothing_that_would_be_refused(server: Server, tab: OpenTab) -> None:
    task_id = await server.submit("exit 3", max_retries=0)
    await server.ended(task_id)
    page = await sign_in(await tab(), server, await server.key("eve", Role.VIEWER))
    await visit(page, server, f"tasks/{task_id}")
    await expect(page.locator(".summary-failed")).to_contain_text("exit code 3")
    for name in ("Cancel", "Retry", "Delete", "Duplicate and edit"):
        await expect(page.locator(".task-actions").get_by_text(name)).to_have_count(0)
    await expect(page.get_by_role("link", name="Submit")).to_have_count(0)
    await visit(page, server, "tasks")
    await page.get_by_label("Select job").click()
    await expect(page.get_by_role("toolbar")).to_have_count(0)


async def test_user_acts_on_own_tasks_only(server: Server, tab: OpenTab) -> None:
    foreign = await server.submit("exit 3", max_retries=0)
    await server.ended(foreign)
    page = await sign_in(await tab(), server, await server.key("ada", Role.USER))
    await visit(page, server, f"tasks/{foreign}")
    actions = page.locator(".task-actions")
    await expect(actions.get_by_text("Duplicate and edit")).to_be_visible()
    await expect(actions.get_by_text("Delete")).to_have_count(0)
    await expect(actions.get_by_text("Retry")).to_have_count(0)


async def test_private_server_shows_nothing_of_others(
    serve: Serve, processes_backend: Backend, tab: OpenTab
) -> None:
    server = await serve(processes_backend, FETCHML_AUTH_PRIVATE="true").start()
    secret = await server.submit_running("sleep 1000", job_name="secret-project")
    page = await sign_in(await tab(), server, await server.key("ada", Role.USER))
    await expect(page.get_by_text("Nothing runs.")).to_be_visible()
    await visit(page, server, "tasks?user=*")
    await expect(page.get_by_text("There are no tasks yet.")).to_be_visible()
    await visit(page, server, f"tasks/{secret}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    assert "secret-project" not in await page.content()
