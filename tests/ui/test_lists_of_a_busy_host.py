"""Filters, plots, the form's side, pages of admins and the history, on a host that is in use."""

import json
import re
from datetime import date, timedelta

import pytest
from playwright.async_api import Page, expect

from tests.support.busy_host import BusyHost
from tests.support.signed_in import sign_in, visit
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow


async def test_tasks_are_filtered_by_experiment_and_time(busy: BusyHost, tab: OpenTab) -> None:
    page = await sign_in(await tab(), busy.server, at="tasks?user=*")
    rows = page.locator(".task-row")
    all_rows = await until_counted(page)
    await page.get_by_role("button", name="More filters").click()
    await page.get_by_label("Experiment id").fill(busy.ids["experiment"])
    await expect(rows).to_have_count(3)
    await expect(page).to_have_url(re.compile(f"experiment={busy.ids['experiment']}"))
    await page.get_by_label("Experiment id").fill("")
    await expect(rows).to_have_count(all_rows)

    today = date.fromisoformat(await page.evaluate("new Date().toLocaleDateString('sv')"))
    tomorrow, yesterday = today + timedelta(days=1), today - timedelta(days=1)
    since, until = page.get_by_label("Created from"), page.get_by_label("Created until")
    await since.fill(tomorrow.isoformat())
    await expect(page.get_by_text("No task matches the filters.")).to_be_visible()
    await since.fill(yesterday.isoformat())
    await expect(rows).to_have_count(all_rows)
    await until.fill(yesterday.isoformat())
    await expect(page).to_have_url(re.compile(f"after={yesterday}.*before={yesterday}"))
    expected = 0 if await is_of_today(page, busy) else all_rows
    await expect(rows).to_have_count(expected)
    await until.fill(tomorrow.isoformat())
    await expect(rows).to_have_count(all_rows)
    await page.reload()
    await expect(page.get_by_label("Created until")).to_have_value(tomorrow.isoformat())
    await expect(rows).to_have_count(all_rows)


async def until_counted(page: Page) -> int:
    await expect(page.locator(".task-row").last).to_be_visible()
    return await page.locator(".task-row").count()


async def is_of_today(page: Page, busy: BusyHost) -> bool:
    """Whether the host's tasks were created on this day: the test may run across midnight."""
    created = (await busy.server.rest.get(f"/v1/tasks/{busy.ids['trains']}")).json["created_at"]
    script = "(at) => new Date(at).toDateString() === new Date().toDateString()"
    return bool(await page.evaluate(script, created))


async def test_scatter_has_the_chosen_axes(busy: BusyHost, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, busy.server)
    await visit(page, busy.server, f"experiments/{busy.ids['experiment']}?part=scatter")
    names, points = page.locator(".plot-name"), page.locator(".point")
    await expect(names).to_have_text(["lr", "loss"])
    await expect(points).to_have_count(3)
    titles = await points.locator("title").all_text_contents()

    async def places(axis: str) -> dict[str, float]:
        """Place of each run on the screen, by its value of lr."""
        found = [float(await one.get_attribute(axis) or "nan") for one in await points.all()]
        rates = [re.search(r"lr=([\d.]+)", title)[1] for title in titles]  # type: ignore[index]
        return dict(zip(rates, found, strict=True))

    across, up = await places("cx"), await places("cy")
    assert across["0.01"] < across["0.1"] < across["0.5"]
    assert up["0.01"] > up["0.1"] > up["0.5"], "loss is lr, and up is a smaller y"
    share = (across["0.1"] - across["0.01"]) / (across["0.5"] - across["0.01"])
    assert abs(share - 0.09 / 0.49) < 0.01
    await page.locator(".plot-choice select").last.select_option("result:accuracy")
    await expect(names).to_have_text(["lr", "accuracy"])
    await expect(page).to_have_url(re.compile("y=result(:|%3A)accuracy"))
    titles = await points.locator("title").all_text_contents()
    up = await places("cy")
    assert up["0.01"] < up["0.1"] < up["0.5"], "accuracy falls with lr"
    await page.get_by_label("Logarithmic").first.check()
    await expect(page.locator(".plot-tick").get_by_text("0.01", exact=True)).to_be_visible()
    across = await places("cx")
    share = (across["0.1"] - across["0.01"]) / (across["0.5"] - across["0.01"])
    assert abs(share - 0.5886) < 0.01, "log 10 / log 50"
    await points.first.click()
    await expect(page).to_have_url(re.compile("/ui/tasks/"))


async def test_parallel_coordinates_have_a_line_for_each_run(busy: BusyHost, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, busy.server)
    await visit(page, busy.server, f"experiments/{busy.ids['experiment']}?part=parallel")
    names, lines = page.locator(".plot-name"), page.locator(".run-line")
    await expect(names).to_have_text(["lr", "loss", "accuracy"])
    await expect(lines).to_have_count(3)
    drawn = [str(await line.get_attribute("points")).split() for line in await lines.all()]
    assert {len(points) for points in drawn} == {3}
    assert len({points[0] for points in drawn}) == 3, "each run is at its own place of lr"
    await lines.first.dispatch_event("pointerenter")
    await expect(page.locator(".plot-pointed")).to_have_text(
        re.compile(r"job \w{8}: lr=[\d.]+, loss=[\d.]+, accuracy=[\d.]+")
    )
    await page.get_by_text("Axes").click()
    await page.get_by_role("checkbox", name="accuracy").uncheck()
    await expect(names).to_have_text(["lr", "loss"])
    await page.get_by_role("checkbox", name="seed").check()
    await expect(names).to_have_text(["lr", "seed", "loss"])
    await opened.check_accessible()


async def test_form_shows_what_is_free_and_when_a_task_starts(busy: BusyHost, tab: OpenTab) -> None:
    page = await sign_in(await tab(), busy.server, at="submit")
    free = page.get_by_role("region", name="Free now")
    stats = (await busy.server.rest.get("/v1/queue")).json
    await expect(free.locator("dd")).to_have_text(
        ["1 of 4", plural(stats["running"]), plural(stats["queued"])]
    )
    await page.locator("#task-job_name").fill("train")
    await page.get_by_label("Command").fill("true")
    task = page.get_by_role("region", name="This task")
    await expect(task).to_contain_text("Estimated start: at once")
    await page.get_by_role("textbox", name="GPUs").fill("4")
    request = {"job_name": "train", "command": ["true"], "gpu": 4}
    reply = await busy.server.rest.ask(
        "POST", "/v1/tasks?validate_only=1&view=full", json.dumps(request).encode()
    )
    if "start_estimate" in reply.json:
        await expect(task).to_contain_text(re.compile(r"Estimated start: in \d+"))
    else:
        await expect(task).to_contain_text("There is no estimate of its start yet.")
    await page.get_by_role("textbox", name="GPUs").fill("5")
    await expect(page.locator("#task-gpu-error")).to_contain_text("4")


def plural(number: int) -> str:
    return f"{number} task" if number == 1 else f"{number} tasks"


async def test_admins_see_quotas_storage_and_findings(busy: BusyHost, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, busy.server, at="admin?part=host")
    quotas = page.get_by_role("region", name="Quotas").get_by_role("row")
    for what, most in (
        ("GPUs that a user's tasks hold", "4"),
        ("Tasks that run", "no limit"),
        ("Disk space of all files", "5.0 GiB"),
    ):
        await expect(quotas.filter(has_text=what).get_by_role("cell").last).to_have_text(most)
    findings = (await busy.server.rest.get("/v1/doctor")).json["findings"]
    checks = page.get_by_role("region", name="Checks")
    shown = checks.get_by_role("listitem")
    await expect(shown).to_have_count(len(findings))
    for one in findings:
        row = shown.filter(has=page.locator(".task-name").get_by_text(one["name"], exact=True))
        await expect(row).to_contain_text("OK" if one["ok"] else "problem")
        if one.get("fix"):
            await expect(row).to_contain_text(f"To do: {one['fix']}")
        if one.get("advice"):
            await expect(row).to_contain_text(f"Safer: {one['advice']}")
    problems = sum(not one["ok"] for one in findings)
    said = "No check found a problem." if not problems else re.compile(f"^{problems} problem")
    await expect(checks.get_by_role("status")).to_have_text(said)

    await visit(page, busy.server, "admin?part=storage")
    stored = (await busy.server.rest.get("/v1/storage")).json["users"]
    table = page.get_by_role("region", name="Storage").first
    for user in stored:
        row = table.get_by_role("row", name=user["user_id"])
        await expect(row.get_by_role("cell").nth(2)).to_have_text(f"{user['files']:,}")
    await expect(table.get_by_role("columnheader", name="outputs")).to_be_visible()


async def test_history_of_gpus_goes_back_a_week(busy: BusyHost, tab: OpenTab) -> None:
    opened = await tab()
    page = await sign_in(opened, busy.server, at="gpus")
    await page.get_by_role("link", name="1 week").click()
    await expect(page).to_have_url(re.compile("range=7d"))
    first = page.get_by_role("region", name="GPU 0")
    curve = first.locator(".curve-line").first
    await expect(curve).to_have_attribute("d", re.compile(r"^M[\d.]+[ ,][\d.]+(\D+[\d.]+){100,}"))
    box, whole = await curve.bounding_box(), await first.locator(".curves").bounding_box()
    assert box is not None
    assert whole is not None
    assert box["width"] > 0.98 * whole["width"], "the samples fill the week"
    await expect(first.locator(".curves")).to_have_attribute(
        "aria-label", re.compile(r"Computed \d+ % of the time, held \d+ % of it")
    )
    await first.get_by_text("Who held it").click()
    holds = first.get_by_text("ada", exact=True)
    await expect(holds.first).to_be_visible()
    # On the third day, as the cursor shows it.
    await page.mouse.move(whole["x"] + 2.5 / 7 * whole["width"], whole["y"] + 10)
    await expect(first.locator(".readout")).to_contain_text("held by")
    await expect(first.locator(".readout")).to_contain_text("ada")
    await page.mouse.move(whole["x"] + 4.5 / 7 * whole["width"], whole["y"] + 10)
    await expect(first.locator(".readout")).to_contain_text("held by nobody")
    await expect(first.locator(".readout")).to_contain_text("7.8 GiB")
    await opened.check_accessible()


# What a viewer may press: nothing here sends a change.
HARMLESS = re.compile(
    r"^(Copy .*|Colours: .*|Sign out|Skip to content|More filters|Fewer filters|Views|Menu"
    r"|queued|preparing|running|collecting|completed|failed|Tasks of .*|Columns|Clear|Times|Wrap"
    r"|Download.*|Following|Follow|End|Earlier|Later|Now|Find.*|Search.*|Previous.*|Next.*|Close.*"
    r"|Dismiss.*|Hide .*|Axes|By day|Who held it.*|[\w .-]+\.(wav|csv|json|txt)"
    r"|Enlarge .*|Metrics \d+|[a-z]+ different \d+ of \d+.*"  # sections that fold
    r"|lr|seed|loss|accuracy|Name|Status|Created|Run time|Time|Run)( ?[▲▼↑↓])?$"
)


async def test_viewer_has_no_button_that_would_be_refused(busy: BusyHost, tab: OpenTab) -> None:
    page = await sign_in(await tab(), busy.server, busy.viewer_key)
    ids = busy.ids
    for path in ("secrets", "notifications", "environments", "submit", "admin"):
        await visit(page, busy.server, path)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
        await expect(page.get_by_role("link", name=path.title(), exact=True)).to_have_count(0)
    for path in (
        "", "tasks", f"tasks/{ids['trains']}", f"tasks/{ids['writes']}?tab=outputs",
        f"tasks/{ids['exits']}", f"tasks/{ids['waits']}", "experiments",
        f"experiments/{ids['experiment']}", "sweeps", f"sweeps/{ids['sweep']}", "gpus", "jupyter",
        f"compare?task={busy.runs[0]}&task={busy.runs[1]}",
    ):  # fmt: skip
        await visit(page, busy.server, path)
        await expect(page.locator(".loading")).to_have_count(0)
        names = await page.evaluate(
            "[...document.querySelectorAll('button, summary, input[type=submit]')]"
            ".filter((one) => one.checkVisibility())"
            ".map((one) => (one.getAttribute('aria-label') ?? one.textContent).trim())"
        )
        assert [name for name in names if not HARMLESS.match(name)] == [], path
        links = await page.locator("main a").evaluate_all("all => all.map((one) => one.href)")
        assert not any("/ui/submit" in link for link in links), path
