"""When a waiting task will start: what is learnt from, and what is told."""

import asyncio
import threading
from functools import partial

import pytest
from msgspec.structs import replace

from fetchml.core.events import (
    CancelRequested,
    Event,
    LauncherChanged,
    Recovered,
    Started,
    Submitted,
)
from fetchml.core.model import Change, Resources, Status, Task, User
from fetchml.core.reactor import step
from fetchml.core.scheduling.estimate import UNKNOWN_MS, Estimate, estimate_one
from fetchml.core.state import ClusterLimits, Limits, State
from fetchml.engine import estimates as module
from fetchml.engine.estimates import (
    AT_ONCE,
    ENOUGH,
    RUNS_KEPT,
    RUNS_KINDS,
    ClusterEstimates,
    RunTimes,
    SimulatedEstimates,
    WaitTimes,
)
from tests.support import invariants, tasks
from tests.support.engine_box import ADMIN, ALICE, BOB, ended, running
from tests.support.engine_box import Box as EngineBox
from tests.support.waiting import SECONDS, soon, until, until_true

MINUTE = 60_000
SLEEP = {"job_name": "sleep", "command": ["sleep", "1000"]}


task = partial(tasks.task, user="ada", gpu=1, created_at=0)


def ran(minutes: float, *, at: int = 0, **about: str | int) -> Task:
    ended_at = at + int(minutes * MINUTE)
    return task(f"ran{at}", status=Status.COMPLETED, started_at=at, ended_at=ended_at, **about)


class Box:
    """A box with some GPUs, its clock in the test's hand."""

    def __init__(self, gpus: int, *ended: Task) -> None:
        self.now = 0
        self.state = State(Limits(Resources(64, 256, gpus), 1000, 10 * MINUTE, "box"))
        self.estimates = SimulatedEstimates(self.state, RunTimes(ended), lambda: self.now)
        self._seq = 0
        self.happens(Recovered(0), LauncherChanged(0, available=True))

    def happens(self, *events: Event) -> None:
        for event in events:
            for changed in step(self.state, event).changes:
                self._seq += 1
                self.estimates.committed([Change(self._seq, event.now, changed)])

    def submit(self, *tasks: Task) -> None:
        before = set(self.state.held)
        self.happens(Submitted(self.now, list(tasks)))
        for task_id in self.state.held.keys() - before:
            self.happens(Started(self.now, task_id, 1, self.now))

    async def told(self, task_id: str) -> tuple[int, int]:
        """p50 and p90 in minutes from now."""
        found = await self.estimates.of(self.state.tasks[task_id])
        assert found is not None
        return (found.p50 - self.now) // MINUTE, (found.p90 - self.now) // MINUTE


def test_tasks_of_the_same_user_and_name_are_similar() -> None:
    times = RunTimes([ran(1, at=at) for at in range(ENOUGH)])
    times.learn(ran(50, job_name="other"))
    assert set(times(task("new"))) == {MINUTE}
    assert set(times(task("new", user="bob"))) <= {MINUTE, 50 * MINUTE}, "as much is asked for"
    assert set(times(task("new", gpu=7, job_name="unheard"))) <= {MINUTE, 50 * MINUTE}, "any task"
    assert RunTimes()(task("new")) == UNKNOWN_MS


def test_few_run_times_give_no_expectation() -> None:
    times = RunTimes([ran(1, at=at) for at in range(ENOUGH - 1)])
    assert times(task("new")) == UNKNOWN_MS
    times.learn(ran(3))
    assert list(times(task("new"))) == sorted(times(task("new")))
    assert {MINUTE, 3 * MINUTE} == set(times(task("new")))


def test_tasks_that_never_ran_are_not_learned_from() -> None:
    times = RunTimes([replace(ran(1, at=at), started_at=None) for at in range(9)])
    services = [replace(ran(1, at=at), service=True) for at in range(9)]
    for each in services:
        times.learn(each)
    assert times(task("new")) == UNKNOWN_MS


def test_only_the_newest_run_times_are_kept() -> None:
    times = RunTimes([ran(9, at=at) for at in range(1_000)])
    for at in range(100):
        times.learn(ran(1, at=at))
    assert set(times(task("new"))) == {MINUTE}
    for number in range(RUNS_KINDS + 10):
        times.learn(ran(1, job_name=f"job{number}"))
    assert len(times._times._kinds) == RUNS_KINDS


def test_restored_run_times_may_come_in_any_order() -> None:
    old = [ran(9, at=at) for at in range(RUNS_KEPT)]
    new = [ran(1, at=10**9 + at) for at in range(RUNS_KEPT)]
    assert set(RunTimes([*new, *old])(task("new"))) == {MINUTE}


async def test_estimate_follows_the_hosts_own_history() -> None:
    box = Box(1, *(ran(10, at=at) for at in range(ENOUGH)))
    box.submit(task("a"), task("b"), task("c"))
    assert await box.told("b") == (10, 10)
    assert await box.told("c") == (20, 20)
    assert await box.estimates.of(box.state.tasks["a"]) is None, "it runs"


async def test_task_that_cannot_start_has_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(2)
    box.submit(task("a"))
    box.submit(task("b", gpu=3))
    played = 0

    def counted(*_: object) -> dict[str, Estimate]:
        nonlocal played
        played += 1
        return {}

    monkeypatch.setattr(module, "estimate", counted)
    box.now += 1
    for _ in range(10):
        assert await box.estimates.of(box.state.tasks["b"]) is None
    assert played == 1, "nor is the queue played again at each question"


async def test_long_queue_is_simulated_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a copy: what happens meanwhile disturbs nothing."""
    box = Box(1, *(ran(10, at=at) for at in range(ENOUGH)))
    box.submit(*(task(f"t{number:03}", created_at=number) for number in range(AT_ONCE + 9)))
    original, threads = asyncio.to_thread, 0

    async def meanwhile(function: object, state: State, *rest: object) -> object:
        nonlocal threads
        threads += 1
        assert state is not box.state
        box.happens(CancelRequested(0, "t002", User("ada")))
        box.submit(task("late"))
        invariants.check(state)
        return await original(function, state, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "to_thread", meanwhile)
    told = await asyncio.gather(*(box.told(f"t{number:03}") for number in (1, 3, 20)))
    assert [p50 for p50, _ in told] == [10, 30, 200]
    assert threads == 1, "one play for all who ask"


async def test_estimate_is_reused_for_some_seconds() -> None:
    box = Box(1, *(ran(10, at=at) for at in range(ENOUGH)))
    box.submit(task("a"), task("b"))
    first = await box.estimates.of(box.state.tasks["b"])
    box.now += module.FRESH_MS
    assert await box.estimates.of(box.state.tasks["b"]) == first
    box.submit(task("c", created_at=box.now))
    assert await box.told("c") == (19, 19), "who is new is not told nothing for seconds"
    box.now = 15 * MINUTE
    late = await box.estimates.of(box.state.tasks["b"])
    assert late is not None
    assert late.p50 >= box.now, "never in the past"


async def test_failed_estimate_does_not_fail_the_explanation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> dict[str, Estimate]:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "estimate", broken)
    box = Box(1)
    box.submit(task("a"), task("b"))
    assert await box.estimates.of(box.state.tasks["b"]) is None
    assert "the start times can't be estimated" in caplog.text


async def test_estimates_of_new_tasks_go_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each user, also when its caller has gone, and one in all."""
    entered, go_on = list[str](), threading.Event()

    def blocked(_: State, now: int, __: RunTimes, task_id: str) -> Estimate:
        entered.append(task_id)
        assert go_on.wait(SECONDS)
        return Estimate(now, now)

    monkeypatch.setattr(module, "estimate_one", blocked)
    estimates = Box(1).estimates
    first = asyncio.create_task(estimates.of_new(task("a")))
    await until_true(lambda: entered)
    assert await soon(estimates.of_new(task("b"))) is None, "the user has one in progress"
    assert await soon(estimates.of_new(task("c", user="bob"))) is None, "not for long"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await soon(estimates.of_new(task("d"))) is None, "the thread goes on"
    monkeypatch.setattr(module, "TURN_SECONDS", SECONDS)
    waits = asyncio.create_task(estimates.of_new(task("e", user="bob")))
    await asyncio.sleep(0)
    go_on.set()
    assert await soon(waits) is not None
    assert await until(lambda: estimates.of_new(task("f"))) is not None
    assert entered == ["a", "e", "f"]


async def test_used_idempotency_key_has_the_estimate_of_its_task(
    box: EngineBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = list[str]()

    def counted(state: State, now: int, run_times: RunTimes, task_id: str) -> Estimate | None:
        played.append(task_id)
        return estimate_one(state, now, run_times, task_id)

    monkeypatch.setattr(module, "estimate_one", counted)
    async with box.engine(max_running=1) as engine:
        blocker = await engine.submissions.create_task(ALICE, SLEEP, "runs")
        await running(engine, blocker.id)
        waits = await engine.submissions.create_task(ALICE, SLEEP, "waits")
        valid = await engine.submissions.validate_task(ALICE, SLEEP, "waits", with_estimate=True)
        assert valid.task.id == waits.id
        assert valid.estimate is not None
        valid = await engine.submissions.validate_task(ALICE, SLEEP, "runs", with_estimate=True)
        assert (valid.task.id, valid.estimate) == (blocker.id, None)
        for task_id in (waits.id, blocker.id):
            await engine.changes.cancel(ALICE, task_id)
            await ended(engine, task_id)
        valid = await engine.submissions.validate_task(ALICE, SLEEP, "waits", with_estimate=True)
        assert (valid.task.id, valid.estimate) == (waits.id, None)
        assert played == [], "none is entered a second time"
        valid = await engine.submissions.validate_task(ALICE, SLEEP, "new", with_estimate=True)
        assert valid.estimate is not None
        assert played == [valid.task.id]


async def test_first_estimates_are_compared_with_true_starts() -> None:
    box = Box(1, *(ran(10, at=at) for at in range(ENOUGH)))
    box.submit(task("a"), task("b"), task("c"), task("unasked", gpu=0))
    assert box.estimates.calibration.tasks == 0, "nobody was told anything"
    await box.told("c")
    box.happens(CancelRequested(0, "c", User("ada")))
    assert box.estimates.calibration.tasks == 0, "it never starts"
    box.now = 9 * MINUTE
    given = replace(box.state.tasks["b"], status=Status.PREPARING, allocated_at=box.now)
    box.estimates.committed([Change(99, box.now, given)])
    calibration = box.estimates.calibration
    assert (calibration.tasks, calibration.by_p50, calibration.by_p90) == (1, 1, 1)
    box.estimates.committed([Change(100, box.now, given)])
    assert box.estimates.calibration == calibration, "once"


async def test_engine_learns_from_tasks_that_ended_before_its_start(
    box: EngineBox,
) -> None:
    """And holds what it told to what came."""
    short = {"job_name": "short", "command": ["true"]}
    async with box.engine(max_running=1) as engine:
        for _ in range(ENOUGH):
            await ended(engine, (await engine.submissions.create_task(ALICE, short)).id)
    async with box.engine(max_running=1) as engine:
        blocker = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, blocker.id)
        waiting = [await engine.submissions.create_task(ALICE, short) for _ in range(3)]
        listed = (await engine.tasks.waiting(ALICE)).tasks
        assert [each.task.id for each in listed] == [task.id for task in waiting]
        starts = [each.estimate.p50 for each in listed if each.estimate is not None]
        assert len(starts) == 3
        # Nobody knows how long the blocker takes; the like tasks behind it take no time.
        assert max(starts) - min(starts) < MINUTE
        assert (await engine.tasks.explain(ALICE, blocker.id)).estimate is None
        await engine.changes.cancel(ALICE, blocker.id)
        for task in waiting:
            await ended(engine, task.id)
        assert engine.status.calibration.tasks == 3


async def test_gpu_use_covers_tasks_that_hold_gpus(box: EngineBox) -> None:
    async with box.engine(gpu=3, private=True) as engine:
        mine = await engine.submissions.create_task(ALICE, {**SLEEP, "gpu": 2})
        without = await engine.submissions.create_task(ALICE, SLEEP)
        for task in (mine, without):
            await running(engine, task.id)
        [use] = engine.status.gpu_use(ALICE)
        assert (use.task_id, use.user) == (mine.id, "alice")
        assert use.gpu_seconds >= 0
        [later] = engine.status.gpu_use(ADMIN)
        assert later.gpu_seconds >= use.gpu_seconds
        assert engine.status.gpu_use(BOB) == [], "on a private server"
        await engine.changes.cancel(ALICE, mine.id)
        await ended(engine, mine.id)
        assert engine.status.gpu_use(ALICE) == []
        await engine.changes.cancel(ALICE, without.id)


def started(task_id: str, waited: int, gpu: int) -> Task:
    return replace(task(task_id, gpu=gpu, created_at=1_000), attempt=1, allocated_at=1_000 + waited)


async def test_cluster_estimates_starts_and_else_similar_tasks_do() -> None:
    state = State(Limits(Resources(), 9, 0, "host", cluster=ClusterLimits(9, 9)))
    waits = WaitTimes([started(f"e{n}", 100 * n, gpu=1) for n in range(10)])
    planned_by_cluster = {"planned": 9_000}
    estimates = ClusterEstimates(
        state, waits, lambda: 2_000, lambda task_id, _: planned_by_cluster.get(task_id)
    )
    planned, similar, other = (
        task("planned", gpu=1, created_at=2_000),
        task("similar", gpu=1, created_at=2_000),
        task("other", gpu=7, created_at=2_000),
    )
    for each in (planned, similar, other):
        state.enter(each, 0)
        state.wait(replace(each, prestaged=True), 0)
    found = await estimates.of(planned)
    assert found is not None
    assert (found.p50, found.p90) == (9_000, 9_000)
    for each in (similar, other):  # Of other resources: from all.
        found = await estimates.of(each)
        assert found is not None
        assert (found.p50, found.p90) == (2_500, 2_900)
    found = await estimates.of_new(similar)
    assert found is not None
    assert found.p50 == 2_500
    assert await estimates.of(task("gone")) is None
    begun = replace(planned, status=Status.RUNNING, allocated_at=8_000)
    estimates.committed([Change(1, 8_000, begun)])
    assert (estimates.calibration.tasks, estimates.calibration.by_p50) == (1, 1)


async def test_cluster_without_any_history_has_no_estimate() -> None:
    state = State(Limits(Resources(), 9, 0, "host", cluster=ClusterLimits(9, 9)))
    estimates = ClusterEstimates(state, WaitTimes(), lambda: 2_000, lambda *_: None)
    assert await estimates.of_new(task("a", gpu=1)) is None
