"""The page of a server that runs tasks in containers, on a host with GPUs."""

import os

import pytest
from playwright.async_api import expect

from testbed.docker_engine import PrivateEngine
from testbed.gpu.cdi import IMAGE
from testbed.gpu.stand_in import GpuBox, gpu, uuid
from tests.support.server_fixtures import Serve, containers_of
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def test_container_with_a_gpu_is_submitted_watched_and_cancelled(
    serve: Serve, cdi_engine: PrivateEngine, gpu_box: GpuBox, tab: OpenTab
) -> None:
    gpu_box.set(gpu(0), gpu(1))
    path = os.pathsep.join(filter(None, [str(gpu_box.folder), os.environ.get("LD_LIBRARY_PATH")]))
    server = await serve(containers_of(cdi_engine, IMAGE), LD_LIBRARY_PATH=path).start()
    opened = await tab()
    page = await sign_in(opened, server)
    strip = page.get_by_role("region", name="GPUs")
    await expect(strip).to_contain_text("2 of 2 free")

    await page.get_by_role("link", name="Submit", exact=True).click()
    await page.locator("#task-job_name").fill("in-a-container")
    await page.get_by_label("Command").fill("sh -c 'env | grep ^GIVEN_; echo ready; sleep 1000'")
    await page.get_by_role("textbox", name="GPUs").fill("1")
    await expect(page.get_by_text("The server accepts it")).to_be_visible()
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("in-a-container")
    log = page.get_by_role("log")
    await expect(log).to_contain_text("ready")
    task_id = page.url.rpartition("/")[2]
    [given] = (await server.get(task_id)).gpu_uuids
    assert given in (uuid(0), uuid(1))
    await expect(log).to_contain_text(f"GIVEN_{given.replace('-', '_')}=1")

    await page.get_by_role("link", name="Overview", exact=True).click()
    await expect(strip).to_contain_text("1 of 2 free")
    card = strip.get_by_role("listitem").nth(0 if given == uuid(0) else 1)
    await expect(card).to_contain_text("in use")
    await expect(card.locator(".user")).to_have_text("admin")
    await opened.check_accessible()
    await card.get_by_role("link", name="in-a-container").click()
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel the task").click()
    await expect(page.locator(".summary")).to_contain_text("cancelled by")
    await server.ended(task_id)
    await visit(page, server, "")
    await expect(strip).to_contain_text("2 of 2 free")
