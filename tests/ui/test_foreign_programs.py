"""An admin opens what a colleague's task serves, beside the page: the program tries to act for the
admin with everything that the browser sends it, and to change whom the page acts for."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from fetchml.core.model import Role
from fetchml.v1 import key_pb2
from tests.support.cli_server import environment
from tests.support.preloaded import FETCHML
from tests.support.program import ADMIN_KEY, Server
from tests.support.signed_in import sign_in
from tests.support.tab import Tab
from tests.support.thief import THIEF
from tests.support.waiting import soon, until_true
from tests.ui.conftest import OpenTab


@dataclass(frozen=True)
class Scene:
    server: Server
    tab: Tab
    page: Page
    """FetchML's, on which the admin is signed in."""
    foreign: Page
    link: str
    """The link that `port-forward` prints."""
    address: str
    """The same port at the page's host."""
    seen: Path
    colleague: str
    """Key of the task's owner."""

    async def visit(self, url: str) -> dict[str, Any]:
        """Open a page of the task; return what its program got, and achieved with it."""
        before = len(self._seen())
        await self.foreign.goto(url)
        await until_true(lambda: len(self._seen()) > before)
        return self._seen()[before]

    def _seen(self) -> list[dict[str, Any]]:
        return [*map(json.loads, self.seen.read_text().splitlines())] if self.seen.exists() else []

    async def acts_for(self, user: str) -> None:
        """The page shows a user, and its requests are that user's."""
        await expect(self.page.locator(".person-name")).to_contain_text(user)
        made = await self.page.evaluate(
            """async () => {
              const headers = {"X-FetchML-Session": localStorage["fetchml.session"] ?? "",
                               "Content-Type": "application/json"};
              const body = '{"job_name": "a", "command": ["true"]}';
              const reply = await fetch("/v1/tasks", {method: "POST", headers, body});
              return await reply.json();
            }"""
        )
        assert made.get("user_id") == user, made

    async def sign_in_again(self) -> None:
        await expect(self.page.get_by_label("API key")).to_be_visible()
        await sign_in(replace(self.tab, page=self.page), self.server)
        await self.acts_for("admin")

    async def keys(self) -> list[str]:
        listed = await self.server.grpc.keys.ListKeys(
            key_pb2.ListKeysRequest(), metadata=self.server.grpc.metadata
        )
        return sorted(key.name for key in listed.keys)


@asynccontextmanager
async def forwarded(server: Server, task_id: str, port: str) -> AsyncIterator[tuple[str, str]]:
    """The link and the address that `fetchml port-forward` prints."""
    variables = {"FETCHML_SERVER": server.grpc_address, "FETCHML_API_KEY": ADMIN_KEY}
    command = [*FETCHML, "port-forward", task_id, f"0:{port}"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, env=environment(**variables)
    )
    assert process.stdout is not None
    try:
        line = (await soon(process.stdout.readline())).decode()
        yield line.partition(" ")[0], f"http://{line.split()[-1]}"
    finally:
        process.kill()
        await process.wait()


@pytest_asyncio.fixture(loop_scope="session")
async def scene(server: Server, tab: OpenTab) -> AsyncIterator[Scene]:
    key = await server.key("mallory", Role.USER)
    rest, _ = await server.clients(key)
    body = {
        "job_name": "thief",
        "command": [sys.executable, "-c", THIEF],
        "env": {"SERVER": server.http_address, "KEY": key},
    }
    task_id = (await rest.submit(body)).json["id"]
    await server.running(task_id)
    folder = server.data_dir / "tasks" / task_id / "attempts/1/workspace"
    port_file = folder / "thief-port"
    await until_true(lambda: port_file.exists() and port_file.read_text())
    opened = await tab()
    page = await sign_in(opened, server)
    async with forwarded(server, task_id, port_file.read_text()) as (link, address):
        foreign = await opened.context.new_page()
        seen = folder / "seen"
        yield Scene(server, opened, page, foreign, link, address, seen, key)


@pytest.mark.slow
async def test_a_task_s_program_gets_nothing_that_acts_for_its_visitor(scene: Scene) -> None:
    before = await scene.keys()
    got = await scene.visit(f"{scene.link}/")
    assert got["host"].startswith(scene.seen.parents[3].name), "a host of its own"
    assert "fetchml" not in got["cookie"]
    # Whoever types the address at the page's host shows it the page's cookie.
    got = await scene.visit(f"{scene.address}/")
    assert f"fetchml-session-{scene.server.http_address.rpartition(':')[2]}" in got["cookie"]
    assert set(got["replayed"]) == {401}
    assert await scene.keys() == before
    await scene.page.reload()
    await scene.acts_for("admin")


@pytest.mark.slow
async def test_planted_and_evicted_cookies_change_no_user(scene: Scene) -> None:
    await scene.visit(f"{scene.address}/plant")
    await scene.page.reload()
    await scene.acts_for("admin")
    await scene.visit(f"{scene.address}/replace")
    await scene.page.reload()
    await scene.sign_in_again()  # Beside the planted cookies.
    got = await scene.visit(f"{scene.address}/evict")
    assert "admin" not in got["replayed"]
    cookies = await scene.tab.context.cookies(f"http://{scene.server.http_address}/")
    assert not [each for each in cookies if each["name"].startswith("fetchml-session")]
    await scene.page.reload()
    await scene.sign_in_again()
    await scene.page.reload()
    await scene.acts_for("admin")
    assert set((await scene.visit(f"{scene.address}/"))["replayed"]) == {401}


async def test_a_link_with_a_foreign_code_shows_its_account_and_asks(scene: Scene) -> None:
    _, grpc = await scene.server.clients(scene.colleague)
    for signed_in in (True, False):
        made = await grpc.keys.CreateSignInCode(
            key_pb2.CreateSignInCodeRequest(), metadata=grpc.metadata
        )
        page = f"http://{scene.server.http_address}/ui/#code={made.code}"
        await scene.foreign.goto(f"{scene.link}/to?{quote(page, safe='')}")
        question = scene.foreign.get_by_role("dialog", name="Sign in as mallory (user)?")
        await question.get_by_role("button", name="Back").click()
        if signed_in:
            await expect(scene.foreign.locator(".person-name")).to_contain_text("admin")
            await scene.page.get_by_role("button", name="Sign out").click()
        await expect(scene.foreign.get_by_label("API key")).to_be_visible()
    await scene.page.reload()
    await scene.sign_in_again()
