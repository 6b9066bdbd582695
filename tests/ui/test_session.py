"""Signing in and out, and what ends a session."""

from playwright.async_api import expect

from fetchml.core.model import Role
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab


async def test_key_is_not_kept(server: Server, tab: OpenTab) -> None:
    page, secret = (await tab()).page, await server.key("ada", Role.USER)
    await page.goto(f"http://{server.http_address}/ui/")
    await page.get_by_label("API key").fill(secret)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    await expect(page.locator(".live")).to_have_text("Live")
    kept = await page.evaluate(
        "JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}, "
        "document.documentElement.outerHTML, "
        "[...document.querySelectorAll('input')].map((field) => field.value)])"
    )
    assert secret not in kept


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
