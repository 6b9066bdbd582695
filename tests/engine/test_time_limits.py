"""Changed time limits against a real engine, store and shim."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fetchml.attempts.hosts import ClusterHost
from fetchml.core.audit import Action
from fetchml.core.model import FailureReason, Resources, Status
from fetchml.core.requests.submission import TaskLimits
from fetchml.core.state import Limits, State
from fetchml.engine.tasks.time_limits import TimeLimits
from fetchml.errors import Conflict, Forbidden, Unavailable, ValidationFailed
from fetchml.files.attempt_folder import AttemptFolder, FolderCall, call_inline
from fetchml.files.task_files import TaskFiles
from fetchml.ports.launcher import LaunchSpec
from fetchml.ports.store import AuditQuery
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended, running
from tests.support.tasks import task
from tests.support.waiting import SECONDS, eventually, soon, until

SLEEP = {"job_name": "sleep", "command": ["sleep", "1000"], "timeout_seconds": 600}
HOUR_MS = 3_600_000


class Refusing:
    """A cluster that allows a running task no more than an hour."""

    workers = 1

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def permit(self, run: LaunchSpec, timeout_ms: int) -> str | None:
        self.asked.append(timeout_ms)
        return "one hour at most" if not 0 < timeout_ms <= HOUR_MS else None


async def test_owner_and_admin_change_it_and_the_audit_has_it(box: Box) -> None:
    async with box.engine(private=False) as engine:
        task = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, task.id)
        for who in (BOB, VIEWER):
            with pytest.raises(Forbidden):
                await engine.changes.update(who, task.id, {"timeout_seconds": 700})
        changed = await engine.changes.update(ALICE, task.id, {"timeout_seconds": 700})
        assert changed.spec.timeout_seconds == 700
        assert changed.status is Status.RUNNING
        await engine.changes.update(ADMIN, task.id, {"timeout_seconds": 0})
        await engine.changes.update(ADMIN, task.id, {"timeout_seconds": 0})
        found = await box.parts.store.list_audit(AuditQuery(action=Action.TASK_UPDATE))
        assert [(entry.user, entry.detail) for entry in found] == [
            ("root", "time limit none"),
            ("alice", "time limit 700 s"),
        ], "a change that changes nothing leaves no entry"
        explained = await engine.tasks.explain(ALICE, task.id)
        assert "time limit" not in explained.reason
        await engine.changes.cancel(ALICE, task.id)
        with pytest.raises(Conflict, match="timeout_seconds"):
            await engine.changes.update(ALICE, task.id, {"timeout_seconds": 800})
        await ended(engine, task.id)


async def test_reserved_gpu_gives_no_more_time_and_names_nobody(box: Box) -> None:
    async with box.engine(private=True) as engine:
        task = await engine.submissions.create_task(ALICE, {**SLEEP, "gpu": 1})
        await running(engine, task.id)
        starts, ends = ((datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (1, 2))
        wanted = {"user_id": "carol", "starts_at": starts, "ends_at": ends, "gpu": 1}
        booking = await box.gpus.bookings.create(ADMIN, wanted)
        for seconds in (0, 86_400):
            with pytest.raises(Conflict, match=r"its GPU is reserved from .* s at most") as found:
                await engine.changes.update(ALICE, task.id, {"timeout_seconds": seconds})
            assert "carol" not in str(found.value)
        await engine.changes.update(ALICE, task.id, {"timeout_seconds": 80_000})
        await box.gpus.bookings.delete(ADMIN, booking.id)
        await engine.changes.update(ALICE, task.id, {"timeout_seconds": 0})
        await engine.changes.cancel(ALICE, task.id)
        await ended(engine, task.id)


async def test_longest_limit_of_the_server(box: Box) -> None:
    limits = TaskLimits(max_timeout_seconds=1_000)
    async with box.engine(task_limits=limits) as engine:
        task = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, task.id)
        for seconds in (1_001, 0):
            for who in (ALICE, ADMIN):
                with pytest.raises(ValidationFailed, match=r"1000 s \(\[tasks\] max_timeout_sec"):
                    await engine.changes.update(who, task.id, {"timeout_seconds": seconds})
        await engine.changes.update(ALICE, task.id, {"timeout_seconds": 1_000})
        await engine.changes.cancel(ALICE, task.id)
        await ended(engine, task.id)


async def test_shim_is_left_with_the_last_of_many_limits(box: Box) -> None:
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, task.id)
        wanted = [{"timeout_seconds": 1_000 + number} for number in range(40)]
        await asyncio.gather(*(engine.changes.update(ALICE, task.id, each) for each in wanted))
        last = (await engine.tasks.get(ALICE, task.id)).spec.timeout_seconds
        limit = box.data_dir / f"tasks/{task.id}/attempts/1/control/limit"
        await eventually(lambda: limit.read_text() == f"timeout_ms={last * 1000}\n")
        await engine.changes.cancel(ALICE, task.id)
        await ended(engine, task.id)


async def test_limit_that_can_not_be_written_is_written_later(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder is in its place: a task without isolation can do that, or a disk that fails."""
    monkeypatch.setattr("fetchml.attempts.changed_limits.AGAIN_SECONDS", 0.01)
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, task.id)
        obstacle = box.data_dir / f"tasks/{task.id}/attempts/1/control/limit.new"
        obstacle.mkdir()
        changed = await engine.changes.update(ALICE, task.id, {"timeout_seconds": 1})
        assert changed.spec.timeout_seconds == 1
        obstacle.rmdir()
        assert (await ended(engine, task.id)).failure_reason is FailureReason.TIMEOUT


async def test_task_whose_attempt_is_being_discarded_gets_its_limit(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the attempt are gone, and the core has not heard of it yet."""
    gone, reported = asyncio.Event(), threading.Event()
    loop, discard = asyncio.get_running_loop(), AttemptFolder.discard

    def slow(self: AttemptFolder) -> None:
        discard(self)
        loop.call_soon_threadsafe(gone.set)
        reported.wait(SECONDS)

    monkeypatch.setattr(AttemptFolder, "discard", slow)
    async with box.engine(max_running=1, prestage=True) as engine:
        runs = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, runs.id)
        waits = await engine.submissions.create_task(ALICE, SLEEP)
        await until(lambda: engine.tasks.get(ALICE, waits.id), lambda task: task.prestaged)
        try:
            await engine.changes.update(ALICE, waits.id, {"hold": True})
            await soon(gone.wait())
            for seconds in (500, 0, 700):
                changed = await engine.changes.update(ALICE, waits.id, {"timeout_seconds": seconds})
                assert changed.prestaged
                assert changed.spec.timeout_seconds == seconds
        finally:
            reported.set()
        await until(lambda: engine.tasks.get(ALICE, waits.id), lambda task: not task.prestaged)
        await engine.changes.update(ALICE, waits.id, {"hold": False})
        await engine.changes.cancel(ALICE, runs.id)
        await running(engine, waits.id)
        assert (await engine.tasks.get(ALICE, waits.id)).spec.timeout_seconds == 700
        await engine.changes.cancel(ALICE, waits.id)
        await ended(engine, waits.id)


async def test_prestaged_attempt_of_an_older_release_is_prepared_again(box: Box) -> None:
    async with box.engine(max_running=1, prestage=True) as engine:
        runs = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, runs.id)
        waits = await engine.submissions.create_task(ALICE, SLEEP)
        attempts = box.data_dir / f"tasks/{waits.id}/attempts"
        await eventually((attempts / "1/run/gate").exists)
        (attempts / "1/control").rename(box.data_dir / "moved")
        changed = await engine.changes.update(ALICE, waits.id, {"timeout_seconds": 700})
        assert changed.spec.timeout_seconds == 700
        await until(lambda: engine.tasks.get(ALICE, waits.id), lambda task: task.attempt == 2)
        await eventually((attempts / "2/control").is_dir)
        for each in (waits, runs):
            await engine.changes.cancel(ALICE, each.id)
            await ended(engine, each.id)


def limits_of(
    box: Box, cluster: Any, launched: LaunchSpec | None, look: FolderCall = call_inline
) -> TimeLimits:
    state = State(Limits(Resources(1, 1, 0), 1, 1, "box"))
    host = ClusterHost(cluster)
    host.look = look
    return TimeLimits(
        state,
        TaskFiles(box.data_dir),
        TaskLimits(),
        host,
        clock=lambda: 1,
        launched=lambda _: launched,
    )


async def test_cluster_is_asked_before_anything_changes(box: Box) -> None:
    """Not for a task that has no attempt, or whose attempt has not started."""
    cluster = Refusing()
    run = LaunchSpec("a", 1, "job", box.data_dir / "a", "image", ("true",), {})
    limits = limits_of(box, cluster, run)
    await limits.permit(task("a", status=Status.RUNNING, attempt=1, timeout_seconds=3_600))
    for seconds in (3_601, 0):
        with pytest.raises(Conflict, match="timeout_seconds: one hour at most"):
            await limits.permit(
                task("a", status=Status.RUNNING, attempt=1, timeout_seconds=seconds)
            )
    await limits.permit(task("a", timeout_seconds=9_999))
    await limits.permit(task("a", status=Status.PREPARING, attempt=1, timeout_seconds=9_999))
    assert cluster.asked == [HOUR_MS, HOUR_MS + 1000, 0]


async def test_attempt_that_ends_while_a_shared_disk_is_read(box: Box) -> None:
    """Its files are gone then. The caller looks at the task again, and says why it can't change."""

    async def look(_: object) -> Any:
        return True

    cluster = Refusing()
    limits = limits_of(box, cluster, None, look)
    assert not await limits.permit(task("a", status=Status.RUNNING, attempt=1, timeout_seconds=60))
    assert cluster.asked == []


async def test_shared_disk_that_hangs_is_not_waited_for(box: Box) -> None:
    async def look(_: object) -> Any:
        raise TimeoutError("the shared disk did not answer in 10 s")

    cluster = Refusing()
    limits = limits_of(box, cluster, None, look)
    with pytest.raises(Unavailable, match="timeout_seconds: the shared disk did not answer"):
        await limits.permit(task("a", status=Status.RUNNING, attempt=1, timeout_seconds=60))
    assert cluster.asked == []
