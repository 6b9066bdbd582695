"""What admins look after."""

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from fetchml.core.model import Role
from tests.support.archives import archive
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in, visit
from tests.support.tab import PHONE
from tests.support.waiting import until
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def test_key_is_created_shown_once_and_revoked(server: Server, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="Admin", exact=True).click()
    name = page.get_by_label("Name")
    await name.fill("a b")
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator("#key-name-error")).to_contain_text("must be 1 to 64 letters")
    await name.fill("ada")
    await page.get_by_label("Role").select_option("viewer")
    await page.get_by_role("button", name="Create").click()
    secret = await page.locator(".new-key code").text_content()
    assert secret is not None
    rest, _ = await server.clients(secret)
    assert (await rest.get("/v1/tasks")).status == 200
    await opened.check_accessible()
    await page.get_by_role("button", name="I have copied it").click()
    await expect(page.get_by_text(secret)).to_have_count(0)

    await page.get_by_role("button", name="Revoke the key of ada").click()
    await page.get_by_role("button", name="Revoke", exact=True).click()
    await expect(page.get_by_role("button", name="Revoke the key of ada")).to_have_count(0)
    assert (await rest.get("/v1/tasks")).status == 401


async def test_environment_is_shown_and_removed(server: Server, tab: OpenTab) -> None:
    """By an admin, who sees those of all, and by a user, who sees their own."""
    key = await server.key("ada", Role.USER)
    rest, _ = await server.clients(key)
    wanted = {"requirements": "requirements.txt"}
    request = {"job_name": "a", "command": ["true"], "environment": wanted}
    for owner, packages in ((rest, b"#\n"), (rest, b"# none\n"), (server.rest, b"#\n")):
        code = archive({"requirements.txt": packages})
        snapshot = await owner.ask("PUT", "/v1/snapshots", code)
        task = await owner.submit({**request, "snapshot_id": snapshot.json["id"]})
        await server.ended(task.json["id"])
    theirs, made = (await rest.get("/v1/environments")).json["environments"]
    opened = await tab()
    page = await sign_in(opened, server, key)
    await page.get_by_role("link", name="Environments", exact=True).click()
    shown = page.get_by_role("region", name="Kept environments")
    await expect(shown.get_by_role("row")).to_have_count(3)
    await opened.check_accessible()
    await page.get_by_role("button", name=f"Remove environment {theirs['id'][:12]}").click()
    await page.get_by_role("button", name="Remove", exact=True).click()
    await expect(shown.get_by_role("row")).to_have_count(2)

    opened = await tab()
    page = await sign_in(opened, server, at="admin?part=storage")
    shown = page.get_by_role("region", name="Kept environments")
    await expect(shown.get_by_role("row")).to_have_count(3)
    await expect(shown).to_contain_text("ada")
    await expect(shown).to_contain_text("requirements.txt")
    await opened.check_accessible()
    remove = page.get_by_role("button", name=f"Remove environment {made['id'][:12]}")
    await remove.click()
    await page.get_by_role("button", name="Remove", exact=True).click()
    await expect(remove).to_have_count(0)
    assert (await rest.get("/v1/environments")).json["total"] == 0


async def test_parts_show_what_happened(server: Server, tab: OpenTab) -> None:
    rest, _ = await server.clients(await server.key("ada", Role.USER))
    reply = await rest.submit({"job_name": "a", "command": ["true"]})
    await server.ended(reply.json["id"])
    opened = await tab(PHONE, dark=True)
    page = await sign_in(opened, server)
    for part, shown in (
        ("use", "Use by user"),
        ("storage", "Storage by user"),
        ("audit", "task.create"),
    ):
        await visit(page, server, f"admin?part={part}")
        await expect(page.locator("main").get_by_text(shown).first).to_be_visible()
        await opened.check_accessible()
    await page.get_by_label("User").fill("nobody")
    await expect(page.get_by_text("No entry matches.")).to_be_visible()
    assert "user_id=nobody" in page.url


async def test_volumes_are_shown_with_their_use(
    serve: Serve, processes_backend: Backend, tab: OpenTab, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "file").write_bytes(bytes(5 << 20))
    limited = f"path = '{tmp_path / 'disk'}'\nmode = 'rw'\nmax_gb = 2\n"
    settings = f"[volumes.scratch]\n{limited}[volumes.models]\npath = '{tmp_path / 'disk'}'\n"
    (tmp_path / "fetchml.toml").write_text(settings)
    server = await serve(processes_backend, FETCHML_CONFIG=str(tmp_path / "fetchml.toml")).start()

    async def measured() -> bool:
        volumes = (await server.rest.get("/v1/storage")).json["volumes"]
        return "bytes" in volumes[0]

    await until(measured)
    opened = await tab()
    page = await sign_in(opened, server, at="admin?part=storage")
    rows = page.get_by_role("region", name="Volumes").locator("tbody tr")
    await expect(rows.nth(0)).to_have_text(re.compile("scratchread and write5.*2.*GiB.*1"))
    await expect(rows.nth(1)).to_have_text("modelsreadnot measured")
    await opened.check_accessible()
