"""Samples of real tasks, who held which GPU, and the sums by user and day."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.core.model import AttemptEnd, Change, Status, Task
from fetchml.core.usage import DayUse, GpuHold, UserDay
from fetchml.engine.engine import Engine
from fetchml.engine.usage.ledger import UsageLedger
from fetchml.errors import NotFound
from fetchml.ports.usage_store import TaskHistory
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended, running
from tests.support.engine_box import box as box  # noqa: PLC0414 - a fixture
from tests.support.tasks import task
from tests.support.waiting import until

NOON = 1_760_011_200_000
"""2025-10-09 12:00 UTC."""
HOUR = 3_600_000
DAY = UserDay("2025-10-09", "ann")


class Ledger:
    """A ledger whose clock is a test's, and the changes that it follows."""

    def __init__(self, slots_per_gpu: int = 1) -> None:
        self.now = NOON
        self.ledger = UsageLedger(ZoneInfo("UTC"), slots_per_gpu, lambda: self.now)
        self.holds: list[GpuHold] = []
        self.sums: dict[UserDay, DayUse] = {}

    def change(self, changed: Task) -> None:
        self.ledger.committed([Change(1, self.now, changed)])

    def take(self) -> None:
        holds, days, at = self.ledger.take()
        assert at == self.now
        self.holds += holds
        for key, use in days.items():
            self.sums[key] = self.sums.get(key, DayUse()).plus(use)


def held(gpus: int = 2, since: int = NOON, **fields: object) -> Task:
    made = task("a", user="ann", created_at=since, cpu=4, gpu=gpus)
    uuids = tuple(f"GPU-{number}" for number in range(gpus))
    about = {"status": Status.PREPARING, "attempt": 1, "gpu_uuids": uuids, "allocated_at": since}
    return replace(made, **(about | fields))


def test_hours_run_from_the_allocation_to_the_end_of_the_attempt() -> None:
    box = Ledger()
    box.change(task("a", user="ann", created_at=NOON, cpu=4, gpu=2))
    box.take()
    assert box.sums == {}, "a waiting task uses nothing"
    box.change(held())
    box.now += HOUR
    box.take()
    box.change(held(status=Status.RUNNING))
    box.now += HOUR
    end = AttemptEnd(box.now - 1_000, code=0)
    box.change(held(status=Status.COLLECTING, end=end))
    box.now += HOUR
    box.change(held(status=Status.COMPLETED, end=end, ended_at=box.now))
    # An ended task that changes again counts once.
    box.change(held(status=Status.COMPLETED, end=end, ended_at=box.now))
    box.take()
    seconds = 2 * HOUR - 1_000
    assert box.sums == {DAY: DayUse(2 * seconds, 4 * seconds, completed=1)}
    assert box.holds == [
        GpuHold(uuid, "a", "ann", NOON, NOON + seconds) for uuid in ("GPU-0", "GPU-1")
    ]
    assert box.ledger.holds() == box.holds, "they may not be stored yet"
    box.take()
    assert box.ledger.holds() == []


def test_shared_gpu_counts_in_parts_and_midnight_divides() -> None:
    box = Ledger(slots_per_gpu=4)
    box.change(held(gpus=1, status=Status.RUNNING))
    assert box.ledger.holds() == [GpuHold("GPU-0", "a", "ann", NOON)]
    box.now += 24 * HOUR
    box.change(held(gpus=1, status=Status.FAILED, ended_at=box.now))
    box.take()
    half = DayUse(3 * HOUR, 48 * HOUR)
    assert box.sums == {DAY: half, UserDay("2025-10-10", "ann"): half.plus(DayUse(failed=1))}


def test_gpus_that_a_cluster_does_not_name_count_too() -> None:
    box = Ledger()
    box.change(held(gpus=2, gpu_uuids=()))
    box.now += HOUR
    box.take()
    assert box.sums[DAY].gpu_ms == 2 * HOUR
    assert box.holds == []


def test_prestaged_and_preempted_tasks() -> None:
    box = Ledger()
    box.change(held(prestaged=True, allocated_at=None))
    box.now += HOUR
    box.take()
    assert box.sums == {}, "it waits for its GPUs"
    box.change(held(since=box.now, status=Status.RUNNING))
    box.now += HOUR
    box.change(held(status=Status.QUEUED, gpu_uuids=()))
    box.now += HOUR
    box.change(held(gpus=1, since=box.now, status=Status.RUNNING, attempt=2))
    box.now += HOUR
    box.take()
    assert box.sums == {DAY: DayUse(3 * HOUR, 8 * HOUR)}
    assert [hold.until for hold in box.holds] == [NOON + 2 * HOUR] * 2


def test_nothing_is_lost_or_counted_twice_over_a_restart() -> None:
    first = Ledger()
    first.change(held(status=Status.RUNNING))
    first.now += HOUR
    first.take()
    stored_until = first.now
    later = Ledger()
    later.now = NOON + 3 * HOUR
    over = replace(held(gpus=1), id="b", status=Status.FAILED, ended_at=NOON + 2 * HOUR)
    over = replace(over, end=AttemptEnd(NOON + 2 * HOUR, code=1))
    long_over = replace(over, id="c", ended_at=NOON, end=AttemptEnd(NOON, code=1))
    later.ledger.load([held(status=Status.RUNNING)], [over, long_over], stored_until)
    later.take()
    assert later.sums == {
        DAY: DayUse(2 * 2 * HOUR, 4 * 2 * HOUR).plus(DayUse(HOUR, 4 * HOUR, failed=1))
    }
    assert [hold.task_id for hold in later.holds] == ["b"]
    assert {hold.since for hold in later.ledger.holds()} == {NOON}


def test_first_start_counts_from_now_on() -> None:
    box = Ledger()
    box.now += HOUR
    over = replace(held(), status=Status.FAILED, ended_at=NOON, end=AttemptEnd(NOON, code=1))
    box.ledger.load([held(status=Status.RUNNING)], [over], 0)
    box.take()
    assert box.sums == {}
    assert len(box.ledger.holds()) == 2


def test_deleted_task_and_service() -> None:
    box = Ledger()
    box.change(held(status=Status.RUNNING))
    box.change(held(status=Status.FAILED, ended_at=box.now))
    box.change(held(status=Status.FAILED, ended_at=box.now, hidden=True))
    box.take()
    assert (box.holds, box.sums) == ([], {DAY: DayUse(failed=1)})
    box.change(replace(held(status=Status.RUNNING, service=True), id="s"))
    box.now += HOUR
    box.change(replace(held(status=Status.FAILED, service=True, ended_at=box.now), id="s"))
    box.take()
    assert box.sums[DAY] == DayUse(2 * HOUR, 4 * HOUR, failed=1), "hours, but no task"


def test_deletion_of_many_tasks_takes_only_their_holds() -> None:
    box = Ledger()
    names = ("a", "b", "c")
    over = [replace(held(gpus=1, status=Status.FAILED, ended_at=NOON), id=name) for name in names]
    for each in over:
        box.change(replace(held(gpus=1, status=Status.RUNNING), id=each.id))
    for each in over[:2]:
        box.change(each)
    box.take()
    box.change(over[2])
    gone = [replace(each, hidden=True) for each in (over[0], over[2])]
    box.ledger.committed([Change(1, box.now, each) for each in gone])
    assert [hold.task_id for hold in box.ledger.holds()] == ["b"], "stored or not"


async def test_holds_and_sums_are_recorded_while_nothing_can_be_measured(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> object:
        raise ConnectionError("the launcher is away")

    monkeypatch.setattr(ProcessLauncher, "usage", broken)
    async with box.engine() as engine:
        sampler = box.parts.sampler
        made = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "command": ["true"], "gpu": 1}
        )
        await ended(engine, made.id, ALICE)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await sampler.sample()
        assert sampler._ledger.holds() == [], "it does not grow"
        await until(
            lambda: engine.usage.by_day(ALICE, None, None),
            lambda found: sum(use.completed for _, use in found.rows) == 1,
        )
        [track] = (await engine.usage.of_gpus(ALICE, None, None, None)).gpus
        assert [hold.task_id for hold in track.holds] == [made.id]


async def sampled(box: Box, holds: Callable[[], object]) -> None:
    """Samples are taken until there is what is wanted."""

    async def sample() -> object:
        await box.parts.sampler.sample()
        return holds()

    await until(sample)


async def use_of(engine: Engine, task_id: str) -> TaskHistory:
    return await engine.usage.of_task(ALICE, task_id)


def _has_cpu(history: TaskHistory) -> bool:
    return history.total is not None and history.total.cpu_max > 1


@pytest.mark.slow
async def test_real_task_is_sampled_and_deleted(box: Box) -> None:
    async with box.engine() as engine:
        busy = {"command": ["sh", "-c", "while :; do :; done"], "gpu": 1, "cpu": 1}
        made = await engine.submissions.create_task(ALICE, {"job_name": "busy", **busy})
        await running(engine, made.id)
        sampler = box.parts.sampler
        assert (await use_of(engine, made.id)).points == ()

        def is_busy() -> bool:
            measured = sampler.newest.get(made.id)
            return bool(measured and measured.sample and measured.sample.cpu > 1)

        await sampled(box, is_busy)
        history = await until(lambda: use_of(engine, made.id), _has_cpu)
        assert history.total is not None
        assert history.total.attempt == 1
        assert 1 < history.total.cpu_max < 800
        assert history.total.memory_max > 0
        [use] = engine.usage.newest(ALICE)
        assert (use.task_id, use.user) == (made.id, "alice")
        assert use.cpu_seconds > 0
        [track] = (await engine.usage.of_gpus(ALICE, None, None, None)).gpus
        assert track.points == [], "a plain slot is not measured"
        [hold] = track.holds
        assert (hold.task_id, hold.user, hold.until) == (made.id, "alice", None)
        await engine.changes.cancel(ALICE, made.id)
        await ended(engine, made.id, ALICE)
        await sampler.sample()
        assert sampler.newest == {}
        found = await until(
            lambda: engine.usage.by_day(BOB, None, None),
            lambda found: any(use.failed for _, use in found.rows),
        )
        [(key, use_of_day)] = found.rows
        assert key.user == "alice"
        assert (use_of_day.completed, use_of_day.failed) == (0, 1)
        assert use_of_day.gpu_ms > 0
        assert use_of_day.cpu_ms > 0
        [track] = (await engine.usage.of_gpus(ALICE, None, None, None)).gpus
        assert [hold.until is None for hold in track.holds] == [False]
        await box.parts.ended.remove([made.id])
        with pytest.raises(NotFound):
            await use_of(engine, made.id)

        async def holds() -> list[GpuHold]:
            return (await engine.usage.of_gpus(ALICE, None, None, None)).gpus[0].holds

        await until(holds, lambda found: not found)
        assert len((await engine.usage.by_day(ADMIN, None, None)).rows) == 1


async def test_private_server_shows_only_what_is_ones_own(box: Box) -> None:
    async with box.engine(private=True, gpu=2) as engine:
        ids = {}
        for who in (ALICE, BOB):
            request = {"job_name": "a", "command": ["sleep", "600"], "gpu": 1}
            ids[who.user] = (await engine.submissions.create_task(who, request)).id
            await running(engine, ids[who.user])
        await sampled(box, lambda: len(box.parts.sampler.newest) == 2)
        for who, others in ((ALICE, "bob"), (BOB, "alice"), (VIEWER, "alice")):
            with pytest.raises(NotFound):
                await engine.usage.of_task(who, ids[others])
            assert {use.user for use in engine.usage.newest(who)} <= {who.user}
            tracks = (await engine.usage.of_gpus(who, None, None, None)).gpus
            assert len(tracks) == 2
            assert {hold.user for track in tracks for hold in track.holds} <= {who.user}
        for name in ids.values():
            await engine.changes.cancel(ADMIN, name)
            await ended(engine, name)
        await box.parts.sampler.sample()
        await until(
            lambda: engine.usage.by_day(ADMIN, None, None),
            lambda found: sum(use.failed for _, use in found.rows) == 2,
        )
        for who, users in ((ALICE, {"alice"}), (VIEWER, set()), (ADMIN, {"alice", "bob"})):
            days = await engine.usage.by_day(who, None, None)
            assert {key.user for key, _ in days.rows} == users
            tracks = (await engine.usage.of_gpus(who, None, None, None)).gpus
            assert {hold.user for track in tracks for hold in track.holds} == users
