"""Tasks, owners and machines that do what nobody expects: the promises hold all the same."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.core.model import FailureReason, Status
from fetchml.core.requests.logs import LogRange
from fetchml.errors import NotFound
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import AttemptExit, LaunchSpec
from tests.support.engine_box import ALICE, Box, ended, running
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "spoil",
    [
        "rm claim; mkdir -p exit/x",
        "rm claim started; mkdir -p exit/x",
        "rm -r *; mkdir -p exit/x",
    ],
)
async def test_command_that_spoils_its_run_folder_runs_once_an_attempt(
    box: Box, tmp_path: Path, spoil: str
) -> None:
    """Nobody can know how it ended: that is the box's fault as far as can be seen, so it is tried
    again. In its second attempt it does no harm."""
    runs = tmp_path / "runs"
    script = (
        f"echo $FETCHML_ATTEMPT >> {runs}; [ $FETCHML_ATTEMPT = 1 ] || exit 0; "
        f"cd $FETCHML_WORKSPACE/../run; {spoil}"
    )
    request = {"job_name": "spoils", "command": ["sh", "-c", script]}
    async with box.engine() as engine:
        task = await ended(engine, (await engine.submissions.create_task(ALICE, request)).id)
        assert (task.status, task.attempt) == (Status.COMPLETED, 2)
        assert (task.retry_count, task.infra_retries) == (0, 1)
        assert (await engine.status.queue_stats(ALICE)).running == 0
    async with box.engine() as engine:
        assert await engine.tasks.get(ALICE, task.id) == task
    assert runs.read_text() == "1\n2\n"


async def test_failing_clean_up_starts_nothing_again(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals = 0
    removed = asyncio.Event()
    remove = ProcessLauncher.remove

    async def fails_first(launcher: ProcessLauncher, run: LaunchSpec) -> None:
        nonlocal removals
        removals += 1
        if removals == 1:
            raise OSError("busy")
        await remove(launcher, run)
        removed.set()

    monkeypatch.setattr(ProcessLauncher, "remove", fails_first)
    runs = tmp_path / "runs"
    request = {"job_name": "once", "command": ["sh", "-c", f"echo run >> {runs}"]}
    async with box.engine() as engine:
        task = await ended(engine, (await engine.submissions.create_task(ALICE, request)).id)
        await engine.changes.delete(ALICE, task.id)
        await asyncio.wait_for(removed.wait(), SECONDS)
        with pytest.raises(NotFound):
            await engine.tasks.get(ALICE, task.id)
    assert runs.read_text() == "run\n"


async def test_failing_stop_is_tried_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = ProcessLauncher.stop
    errors = [OSError("the backend is confused")]

    async def fails_first(launcher: ProcessLauncher, run: LaunchSpec) -> None:
        if errors:
            raise errors.pop()
        await stop(launcher, run)

    monkeypatch.setattr(ProcessLauncher, "stop", fails_first)
    async with box.engine() as engine:
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "long", "command": ["sleep", "1000"]}
        )
        await running(engine, task.id)
        await engine.changes.cancel(ALICE, task.id)
        assert (await ended(engine, task.id)).error == "cancelled by alice"


async def test_dataset_that_is_a_loop_of_links_fails_its_own_task_only(box: Box) -> None:
    root = box.data_dir / "datasets"
    root.mkdir(parents=True)
    (root / "loop").symlink_to("loop")
    async with box.engine() as engine:
        bad, good = await engine.submissions.create_tasks(
            ALICE, [{"job_name": "bad", "datasets": ["loop"]}, {"job_name": "good"}]
        )
        assert (await ended(engine, bad.id)).failure_reason is FailureReason.PREPARE_FAILED
        assert (await ended(engine, good.id)).status is Status.COMPLETED


async def test_deeply_nested_outputs_fail_the_task_and_can_be_deleted(box: Box) -> None:
    script = "cd $FETCHML_OUTPUTS; for i in $(seq 300); do mkdir d; cd d; done"
    request = {"job_name": "deep", "command": ["sh", "-c", script]}
    async with box.engine() as engine:
        task = await ended(engine, (await engine.submissions.create_task(ALICE, request)).id)
        assert task.failure_reason is FailureReason.COLLECT_FAILED
        await engine.changes.delete(ALICE, task.id)
        assert not (box.data_dir / "tasks" / task.id).exists()


async def test_task_too_large_for_a_smaller_host_fails_with_a_reason(box: Box) -> None:
    blocker = {"job_name": "blocker", "command": ["sleep", "1000"]}
    async with box.engine(max_running=1) as engine:
        holds = await engine.submissions.create_task(ALICE, blocker)
        large = await engine.submissions.create_task(ALICE, {"job_name": "large", "gpu": 1})
        await running(engine, holds.id)
    async with box.engine(gpu=0) as engine:
        task = await engine.tasks.get(ALICE, large.id)
        assert (task.status, task.error) == (Status.FAILED, "requests 1 gpu, but this host has 0")
        assert (
            await ended(engine, (await engine.submissions.create_task(ALICE, {"job_name": "a"})).id)
        ).ended_at
        await engine.changes.cancel(ALICE, holds.id)
        await ended(engine, holds.id)


async def test_repeated_create_is_answered_while_new_ones_are_refused(box: Box) -> None:
    async with box.engine() as engine:
        first = await engine.submissions.create_task(ALICE, {"job_name": "a", "gpu": 1}, "key")
        await ended(engine, first.id)
    async with box.engine(gpu=0, min_free_bytes=1 << 60) as engine:
        again = await engine.submissions.create_task(ALICE, {"job_name": "a", "gpu": 1}, "key")
        assert again.id == first.id


async def test_log_offset_holds_for_a_task_that_still_waits(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        holds = await engine.submissions.create_task(
            ALICE, {"job_name": "b", "command": ["sleep", "1000"]}
        )
        waits = await engine.submissions.create_task(
            ALICE, {"job_name": "w", "command": ["echo", "0123"]}
        )
        log = engine.logs.read(ALICE, waits.id, LogRange(offset=2), follow=True)
        async with contextlib.aclosing(log), asyncio.timeout(SECONDS):
            first = asyncio.ensure_future(anext(log))
            await asyncio.sleep(0)
            await engine.changes.cancel(ALICE, holds.id)
            assert (await first).data == b"23\n"


async def test_shim_that_is_seen_too_late_runs_once(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel shows no environment of a process that was just started: who looks for it by that
    finds none. It claims its attempt right before the engine can."""
    looks = 0

    async def sees_none_at_first(self: ProcessLauncher, run: LaunchSpec) -> AttemptExit:
        nonlocal looks
        looks += 1
        return AttemptExit() if looks == 1 else await wait(self, run)

    def is_too_late(self: AttemptFolder) -> bool:
        while self.claim() is None:
            time.sleep(0.01)
        return revoke(self)

    wait, revoke = ProcessLauncher.wait, AttemptFolder.revoke
    monkeypatch.setattr(ProcessLauncher, "wait", sees_none_at_first)
    monkeypatch.setattr(AttemptFolder, "revoke", is_too_late)
    runs = tmp_path / "runs"
    request = {"job_name": "late", "command": ["sh", "-c", f"echo >> {runs}; exit 6"]}
    async with box.engine() as engine:
        task = await ended(engine, (await engine.submissions.create_task(ALICE, request)).id)
    assert (task.exit_code, task.attempt, len(runs.read_text())) == (6, 1, 1)
