"""Tasks that forge their own exit record in the run folder: plain processes, and containers."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fetchml.attempts.attempt_end import AttemptTimes
from fetchml.core.model import ENDED, AttemptEnd, Status
from fetchml.engine.estimates import RunTimes, SimulatedEstimates
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.views import WatchFilter
from tests.hostile.raw import ADMIN_KEY, SERVER_SETTINGS, all_tasks, submit
from tests.hostile.test_text import until_idle
from tests.support import tasks as factory
from tests.support.cli_server import Server
from tests.support.engine_box import ALICE, Box, ended
from tests.support.waiting import SECONDS, until

YEAR_9999_MS = 253_402_300_799_999
LOOK = "cd /.fetchml/run 2>/dev/null || cd $FETCHML_WORKSPACE/../run; "
FORGE = LOOK + 'rm exit.tmp; printf "%s" "$0" > exit.tmp'
"""The shim gives this file its name when the command has ended."""
TIMES = [
    "code=0\nat_ms=253402300799999\nstarted_ms=1\n",
    "code=0\nat_ms=1\nstarted_ms=253402300799999\n",
    "code=0\nat_ms=253402300799999\n",
    "code=0\nat_ms=0\nstarted_ms=0\n",
    f"code=3\nat_ms=253402300799999\nstarted_ms=1\nerror={'x' * 3000}\n",
]
NONSENSE = [
    "code=256\nat_ms=5\n",
    "code=-1\nat_ms=5\n",
    "code=99999999999999999999\nat_ms=5\n",
    "signal=0\nat_ms=5\n",
    "signal=65\nat_ms=5\n",
    "code=0\nsignal=9\nat_ms=5\n",
    "code=0\nat_ms=99999999999999999999\n",
    "code=0\n",
]


def forging(content: str) -> dict[str, object]:
    return {"job_name": "forges", "command": ["sh", "-c", FORGE, content]}


async def test_forged_times_are_clamped_between_gate_and_now(each_box: Box) -> None:
    begun = time.time_ns() // 1_000_000
    async with each_box.engine() as engine:
        made = [await engine.submissions.create_task(ALICE, forging(content)) for content in TIMES]
        tasks = [await ended(engine, each.id) for each in made]
    over = time.time_ns() // 1_000_000
    assert [task.exit_code for task in tasks] == [0, 0, 0, 0, 3], "their records were taken"
    for task in tasks:
        assert task.started_at is not None
        assert task.ended_at is not None
        # The time of a file is up to a tick of the kernel's clock too early.
        assert begun - 10 <= task.started_at <= task.ended_at <= over
        assert task.end is not None
        assert len(task.end.start_error or "") <= 500


@pytest.mark.slow
async def test_nonsense_exit_record_counts_as_infrastructure_failure(box: Box) -> None:
    """It counts as a fault of the machine, and the second attempt does no harm."""
    script = f"[ $FETCHML_ATTEMPT = 1 ] || exit 7; {FORGE}"
    async with box.engine() as engine:
        for content in NONSENSE:
            request = {"job_name": "forges", "command": ["sh", "-c", script, content]}
            await engine.submissions.create_task(ALICE, request)
        async with contextlib.aclosing(engine.watches.watch(ALICE, WatchFilter(), 0)) as updates:
            async with asyncio.timeout(SECONDS):
                over = 0
                async for update in updates:
                    task = update.task
                    assert task is not None
                    if task.status in ENDED:
                        assert (task.exit_code, task.attempt) == (7, 2), task
                        over += 1
                    if over == len(NONSENSE):
                        break


PLACES = {
    "nothing": "rm -rf NAME",
    "a link": "ln -sf /etc/passwd NAME",
    "a fifo": "rm -rf NAME; mkfifo NAME",
    "a folder": "rm -rf NAME; mkdir NAME",
    "a huge file": "rm -rf NAME; truncate -s 1T NAME",
    "a link to itself": "ln -sfn NAME NAME",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("each_box", "place"),
    [
        *(("box", place) for place in PLACES),
        # What the server reads of a container is the same folder.
        pytest.param("containers_box", "a link", marks=pytest.mark.docker),
    ],
    indirect=["each_box"],
)
async def test_replaced_record_file_ends_only_its_own_task(each_box: Box, place: str) -> None:
    names = ["exit.tmp", "started", "claim", "log.00000000000000000000", "open", "gate"]
    async with each_box.engine(max_running=10) as engine:
        made = []
        for name in names:
            spoil = PLACES[place].replace("NAME", name)
            script = f"[ $FETCHML_ATTEMPT = 1 ] || exit 0; {LOOK}{spoil}"
            request = {"job_name": "hostile", "command": ["sh", "-c", script]}
            made.append(await engine.submissions.create_task(ALICE, request))
        other = await engine.submissions.create_task(ALICE, {"job_name": "other"})
        assert (await ended(engine, other.id)).status is Status.COMPLETED
        tasks = []
        for each in made:
            # Not by reading the log to its end: one is a TiB of zeros.
            look = partial(engine.tasks.get, ALICE, each.id)
            task = await until(look, lambda found: found.status in ENDED)
            tasks.append(task)
            assert len(await engine.logs.tail(task) or "") <= 1 << 16
    async with each_box.engine() as engine:
        assert [await engine.tasks.get(ALICE, task.id) for task in tasks] == tasks


async def test_forged_times_do_not_distort_estimates(box: Box) -> None:
    """Nobody's estimate grows beyond what really went by."""
    begun = time.monotonic()
    async with box.engine() as engine:
        for _ in range(3):
            made = await engine.submissions.create_task(ALICE, forging(TIMES[0]))
            await ended(engine, made.id)
        learned = RunTimes([await engine.tasks.get(ALICE, made.id)] * 3)
        passed_ms = (time.monotonic() - begun) * 1000
        assert max(learned(made)) <= passed_ms
        estimates = box.parts.estimates
        assert isinstance(estimates, SimulatedEstimates)
        assert max(estimates._run_times(made)) <= passed_ms


# The bounds themselves


@pytest.fixture
def opened(tmp_path: Path) -> AttemptFolder:
    folder = AttemptFolder(tmp_path / "attempt")
    folder.create(os.geteuid(), os.getegid())
    folder.open_gate()
    os.utime(folder.path / "opened", ns=(5_000_000_000, 5_000_000_000))
    return folder


def times(folder: AttemptFolder, now: int) -> AttemptTimes:
    return AttemptTimes(folder, factory.task(created_at=1_000, allocated_at=2_000), lambda: now)


def test_times_within_bounds_are_unchanged(opened: AttemptFolder) -> None:
    end = AttemptEnd(at=7_000, started_at=6_000, code=0)
    assert times(opened, 8_000).ended(end) == end
    assert times(opened, 8_000).started(6_000) == 6_000


def test_times_outside_bounds_are_clamped(opened: AttemptFolder) -> None:
    found = times(opened, 8_000)
    assert found.started(1) == 5_000
    assert found.started(YEAR_9999_MS) == 8_000
    forged = AttemptEnd(at=YEAR_9999_MS, started_at=1, code=0)
    assert found.ended(forged) == AttemptEnd(at=8_000, started_at=5_000, code=0)
    forged = AttemptEnd(at=1, started_at=YEAR_9999_MS, code=0)
    assert found.ended(forged) == AttemptEnd(at=5_000, started_at=5_000, code=0)


def test_first_gate_opening_is_the_lower_bound(opened: AttemptFolder) -> None:
    opened.open_gate()  # as a server does that finds the attempt
    assert opened.opened_at() == 5_000


def test_allocation_time_is_the_lower_bound_without_gate_mark(tmp_path: Path) -> None:
    found = times(AttemptFolder(tmp_path / "none"), 8_000)
    assert found.started(1) == 2_000


def test_clock_set_back_yields_no_negative_times(opened: AttemptFolder) -> None:
    end = times(opened, 3_000).ended(AttemptEnd(at=9_000, started_at=6_000, code=0))
    assert end.started_at is not None
    assert 5_000 <= end.started_at <= end.at <= 5_000 + 60_000


# What others see


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data", **SERVER_SETTINGS).start()
    yield server
    assert server.stop() == 0, server.log


@pytest.mark.slow
def test_cli_shows_tasks_with_forged_ends(server: Server) -> None:
    for content in TIMES:
        assert submit(server.http, forging(content)).status == 201
    until_idle(server)
    variables = {"FETCHML_API_KEY": ADMIN_KEY}
    for task in all_tasks(server):
        assert "exit code" in server.run("show", task["id"], **variables).succeeded()
    server.run("ls", "--json", **variables).succeeded()
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        server.run("ls", TZ=zone, **variables).succeeded()
