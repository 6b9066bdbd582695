"""One task: its log, outputs, explanation and actions."""

import re
import zipfile

import pytest
from playwright.async_api import Route, expect

from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

LINES = 'i=0; while [ $i -lt 30000 ]; do echo "line $i of the log"; i=$((i+1)); done; echo needle'
GROWS = 'i=0; while :; do i=$((i+1)); echo "step $i"; sleep 0.1; done'


async def test_log_opens_at_its_end_and_goes_anywhere(server: Server, tab: OpenTab) -> None:
    task_id = await server.submit(LINES)
    await server.ended(task_id)
    opened = await tab()
    page = await sign_in(opened, server, at=f"tasks/{task_id}")
    log = page.get_by_role("log")
    await expect(log.get_by_text("needle")).to_be_in_viewport()
    await opened.check_accessible()
    await log.press("Home")
    await expect(log.get_by_text("line 0 of the log", exact=True)).to_be_in_viewport()
    await log.press("End")
    await expect(log.get_by_text("needle")).to_be_in_viewport()
    assert await page.locator(".log-line").count() < 7000


async def test_whole_log_is_searched(server: Server, tab: OpenTab) -> None:
    task_id = await server.submit(LINES)
    await server.ended(task_id)
    page = await sign_in(await tab(), server, at=f"tasks/{task_id}")
    search = page.get_by_label("Search the whole log")
    await search.fill("LINE 12345 of")
    await search.press("Enter")
    found = page.locator(".log-line-current")
    await expect(found).to_have_text("line 12345 of the log")
    await expect(found).to_be_in_viewport()
    await expect(page.locator(".log-matches")).to_have_text("1 of 1")
    await search.fill("absent")
    await search.press("Enter")
    await expect(page.locator(".log-matches")).to_have_text("No match")


async def test_growing_log_is_followed_until_one_scrolls_up(server: Server, tab: OpenTab) -> None:
    task_id = await server.submit_running(GROWS)
    page = await sign_in(await tab(), server, at=f"tasks/{task_id}")
    log = page.get_by_role("log")
    await expect(log.get_by_text("step 60", exact=True)).to_be_in_viewport()
    follow = page.locator(".log-follow")
    await expect(follow).to_have_text("Following")
    await log.evaluate("(log) => { log.scrollTop = 0; }")
    await expect(follow).to_have_text("Follow")
    await expect(log.get_by_text("step 1", exact=True)).to_be_in_viewport()
    await follow.click()
    await expect(follow).to_have_text("Following")


async def test_task_is_cancelled_and_run_again(server: Server, tab: OpenTab) -> None:
    task_id = await server.submit_running("sleep 1000", job_name="mine")
    page = await sign_in(await tab(), server, at=f"tasks/{task_id}")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel the task").click()
    await expect(page.locator(".summary")).to_contain_text("cancelled by")
    await page.get_by_role("button", name="Retry").click()
    await expect(page).not_to_have_url(re.compile(task_id))
    await expect(page.locator(".task-title")).to_contain_text("running")


async def test_time_limit_of_a_running_task_changes(server: Server, tab: OpenTab) -> None:
    task_id = await server.submit_running("sleep 1000", job_name="mine", timeout_seconds=3_000)
    page = await sign_in(await tab(), server, at=f"tasks/{task_id}")
    await expect(page.locator(".timeline")).to_contain_text("of 50 min 00 s")
    await page.get_by_role("button", name="Time limit").click()
    limit = page.get_by_label("Time limit", exact=True)
    await expect(limit).to_have_value("3000s")
    for wrong, said in (("soon", "must be like 90s"), ("0s1", "must be like"), ("99d", "2147483")):
        await limit.fill(wrong)
        await page.get_by_role("button", name="Change the limit").click()
        await expect(page.get_by_role("alert")).to_contain_text(said)
    await limit.fill("2h")
    await page.get_by_role("button", name="Change the limit").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator(".timeline")).to_contain_text("of 2 h")
    assert (await server.get(task_id)).timeout_seconds == 7_200
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")


async def test_waiting_task_shows_why(
    serve: Serve, processes_backend: Backend, tab: OpenTab
) -> None:
    server = await serve(processes_backend, FETCHML_RESOURCES_CPU="1").start()
    await server.submit_running("sleep 1000", cpu=1, job_name="holds")
    task_id = await server.submit("true", cpu=1, job_name="waits")
    opened = await tab()
    page = await sign_in(opened, server, at=f"tasks/{task_id}")
    await expect(page.locator(".summary")).to_contain_text("Position 1")
    await expect(page.locator(".summary")).to_contain_text("waits for 1 CPU core (0 of 1 free)")
    await expect(page.locator(".missing")).to_have_text("Asks for 1 CPU core; 0 of 1 free.")


OUTPUTS = r"""
printf '\211PNG\r\n\032\n' > "$FETCHML_OUTPUTS/broken.png"
cp "$PICTURE" "$FETCHML_OUTPUTS/picture.png"
printf 'epoch,loss\n1,0.5\n2,"<b>0.25</b>"\n' > "$FETCHML_OUTPUTS/history.csv"
printf '{"accuracy": 0.93}' > "$FETCHML_OUTPUTS/metrics.json"
"""


async def test_outputs_have_previews(server: Server, tab: OpenTab) -> None:
    picture = server.data_dir.parent / "picture.png"
    opened = await tab()
    page = await sign_in(opened, server)
    await page.screenshot(path=picture)
    picture.chmod(0o644)
    task_id = await server.submit(OUTPUTS, env={"PICTURE": str(picture)})
    await server.ended(task_id)
    await visit(page, server, f"tasks/{task_id}?tab=outputs&file=picture.png")
    shown = page.get_by_role("img", name="picture.png")
    await expect(shown).to_be_visible()
    assert await shown.evaluate("(picture) => picture.naturalWidth") == 1440
    await page.get_by_role("button", name="history.csv", exact=True).click()
    await expect(page.get_by_role("cell", name="<b>0.25</b>")).to_be_visible()
    await page.get_by_role("button", name="metrics.json", exact=True).click()
    await expect(page.locator(".preview-text")).to_have_text('{\n  "accuracy": 0.93\n}')
    await page.get_by_role("button", name="broken.png", exact=True).click()
    await expect(page.get_by_text("The browser cannot show this file")).to_be_visible()
    await opened.check_accessible()
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download metrics.json").click()
    assert (await download.value).suggested_filename == "metrics.json"
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download all").click()
    names = zipfile.ZipFile(await (await download.value).path()).namelist()
    assert any(name.endswith("history.csv") for name in names), names


async def test_timeline_has_each_attempt(server: Server, tab: OpenTab) -> None:
    script = '[ "$FETCHML_ATTEMPT" = 3 ] && sleep 1000; exit $((3 * FETCHML_ATTEMPT))'
    task_id = await server.submit(script, max_retries=2)
    opened = await tab()
    page = await sign_in(opened, server, at=f"tasks/{task_id}")
    earlier = page.get_by_role("list", name="Earlier attempts").get_by_role("listitem")
    await expect(earlier).to_have_count(2)
    await expect(earlier.first).to_contain_text("exit code 6; retried")
    await expect(earlier.last).to_contain_text("exit code 3; retried")
    await expect(earlier.last).to_contain_text(re.compile(r" to .* · ran \d+ s · on "))
    timeline = page.get_by_role("list", name="Timeline").get_by_role("listitem")
    await expect(timeline.filter(has_text="Running")).to_have_attribute("aria-current", "step")
    for step in ("Queued", "Preparing", "Running"):
        await expect(timeline.filter(has_text=step).locator("time").first).to_be_visible()
    await opened.check_accessible()


async def test_attempts_that_are_not_recorded_are_named(server: Server, tab: OpenTab) -> None:
    """As of a task from an older release, which kept no attempts."""
    task_id = await server.submit("exit 3", max_retries=1)
    await server.ended(task_id)
    page = await sign_in(await tab(), server)

    async def without_attempts(route: Route) -> None:
        reply = await route.fetch()
        body = await reply.json()
        assert len(body.pop("earlier_attempts")) == 1
        await route.fulfill(response=reply, json=body)

    await page.route(f"**/v1/tasks/{task_id}?*", without_attempts)
    await visit(page, server, f"tasks/{task_id}")
    await expect(page.get_by_text("Attempt 1 is not recorded.")).to_be_visible()
