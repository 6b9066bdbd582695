"""GPUs with their history."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from fetchml.core.model import Role
from testbed.gpu.stand_in import GpuBox, gpu
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

HISTORY_HAS_SAMPLES = "() => document.querySelector('.curve-line')?.getAttribute('d')"


async def with_gpus(serve: Serve, backend: Backend, box: GpuBox, **variables: str) -> Server:
    box.set(gpu(0), gpu(1))
    path = os.pathsep.join(filter(None, [str(box.folder), os.environ.get("LD_LIBRARY_PATH")]))
    return await serve(backend, LD_LIBRARY_PATH=path, **variables).start()


async def test_history_shows_who_held_a_gpu(
    serve: Serve, processes_backend: Backend, gpu_box: GpuBox, tab: OpenTab
) -> None:
    server = await with_gpus(serve, processes_backend, gpu_box)
    await server.submit_running("sleep 1000", job_name="holds-it", gpu=1)
    opened = await tab()
    page = await sign_in(opened, server)
    await page.get_by_role("link", name="GPUs", exact=True).click()
    await page.get_by_role("link", name="1 hour").click()
    await expect(page.get_by_role("heading", name="GPU 0")).to_be_visible()
    # Samples come every 10 s, and the view reads them every 30 s.
    await expect(page.get_by_text("Who held it: admin").first).to_be_visible(timeout=120_000)
    await page.wait_for_function(HISTORY_HAS_SAMPLES, timeout=120_000)
    await page.get_by_text("Who held it: admin").first.click()
    await expect(page.get_by_role("link", name="holds-it").first).to_be_visible()
    await opened.check_accessible()


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


async def test_packed_gpu_shows_its_room(
    serve: Serve, processes_backend: Backend, gpu_box: GpuBox, tab: OpenTab
) -> None:
    packs = {"FETCHML_GPU_SLOTS_PER_GPU": "2", "FETCHML_GPU_PACKING": "true"}
    server = await with_gpus(serve, processes_backend, gpu_box, **packs)
    await server.submit_running("sleep 1000", gpu=1)
    opened = await tab()
    page = await sign_in(opened, server, at="gpus")
    room = page.get_by_text("No room in its memory for another task")
    await expect(page.get_by_role("region", name="GPU 0").locator(room)).to_be_visible()
    await expect(room).to_have_count(1)


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


async def test_private_history_shows_nothing_of_others(
    serve: Serve, processes_backend: Backend, gpu_box: GpuBox, tab: OpenTab
) -> None:
    server = await with_gpus(serve, processes_backend, gpu_box, FETCHML_AUTH_PRIVATE="true")
    await server.submit_running("sleep 1000", job_name="secret-name", gpu=1)
    page = await sign_in(await tab(), server, await server.key("eve", Role.USER), at="gpus")
    await expect(page.get_by_role("region", name="GPU 0").get_by_text("in use")).to_be_visible()
    await expect(page.get_by_text("secret-name")).to_have_count(0)
    await expect(page.locator("main").get_by_text("admin")).to_have_count(0)
    await expect(page.get_by_role("button", name="Drain")).to_have_count(0)
