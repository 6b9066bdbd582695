"""GPUs with their history."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from fetchml.core.model import Role
from testbed.docker_engine import PrivateEngine
from testbed.gpu.cdi import IMAGE
from testbed.gpu.stand_in import GpuBox, gpu, uuid
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve, containers_of
from tests.support.signed_in import sign_in
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def with_gpus(serve: Serve, backend: Backend, box: GpuBox, **variables: str) -> Server:
    box.set(gpu(0), gpu(1))
    path = os.pathsep.join(filter(None, [str(box.folder), os.environ.get("LD_LIBRARY_PATH")]))
    return await serve(backend, LD_LIBRARY_PATH=path, **variables).start()


async def test_admin_drains_a_gpu(
    serve: Serve, processes_backend: Backend, gpu_box: GpuBox, tab: OpenTab
) -> None:
    server = await with_gpus(serve, processes_backend, gpu_box)
    page = await sign_in(await tab(), server, at="gpus")
    first = page.get_by_role("region", name="GPU 0")
    await first.get_by_role("button", name="Drain").click()
    await page.locator("dialog").get_by_role("button", name="Drain").click()
    await expect(first.get_by_text("drained by admin")).to_be_visible()
    await first.get_by_role("button", name="Undrain").click()
    await expect(first.get_by_role("button", name="Drain", exact=True)).to_be_visible()


async def test_admin_reserves_a_gpu(
    serve: Serve, processes_backend: Backend, gpu_box: GpuBox, tab: OpenTab
) -> None:
    server = await with_gpus(serve, processes_backend, gpu_box)
    key = await server.key("ada", Role.USER)
    opened = await tab()
    page = await sign_in(opened, server, at="gpus")
    panel = page.get_by_role("region", name="Reservations").first
    await panel.get_by_role("button", name="Reserve").click()
    await panel.get_by_label("User").fill("ada")
    await panel.get_by_role("button", name="Reserve the GPUs").click()
    await expect(page.locator("#reservation-ends_at-error")).to_be_visible()
    end = datetime.now(tz=UTC) + timedelta(days=2)
    await panel.get_by_label("To").fill(end.strftime("%Y-%m-%dT%H:%M"))
    await panel.get_by_role("button", name="Reserve the GPUs").click()
    row = panel.get_by_role("row", name="ada")
    await expect(row).to_be_visible()
    await opened.check_accessible()
    users = await sign_in(await tab(), server, key, at="gpus")
    await expect(users.get_by_role("row", name="ada")).to_be_visible()
    await expect(users.get_by_role("button", name="Remove")).to_have_count(0)
    await row.get_by_role("button", name="Remove").click()
    await page.locator("dialog").get_by_role("button", name="Remove").click()
    await expect(row).to_have_count(0)


async def test_gpu_of_a_container_is_shown_with_its_task(
    serve: Serve, cdi_engine: PrivateEngine, gpu_box: GpuBox, tab: OpenTab
) -> None:
    server = await with_gpus(serve, containers_of(cdi_engine, IMAGE), gpu_box)
    script = "env | grep ^GIVEN_; sleep 1000"
    task_id = await server.submit_running(script, job_name="in-a-container", gpu=1)
    [given] = (await server.get(task_id)).gpu_uuids
    page = await sign_in(await tab(), server, at=f"tasks/{task_id}")
    log = page.get_by_role("log")
    await expect(log).to_contain_text(f"GIVEN_{given.replace('-', '_')}=1")
    await page.get_by_role("link", name="Overview", exact=True).click()
    strip = page.get_by_role("region", name="GPUs")
    await expect(strip).to_contain_text("1 of 2 free")
    card = strip.get_by_role("listitem").nth(0 if given == uuid(0) else 1)
    await expect(card).to_contain_text("in use")
    await expect(card.get_by_role("link", name="in-a-container")).to_be_visible()
