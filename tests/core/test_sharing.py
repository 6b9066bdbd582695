"""Shares' arithmetic, quotas, who makes way for whom, what is made ready ahead, and what people are
told about it."""

import itertools

import pytest

from fetchml.core.events import (
    CancelRequested,
    Collected,
    Decision,
    DiscardAttempt,
    Ended,
    Event,
    GpuChecked,
    GpuDrained,
    GpusSeen,
    LauncherChanged,
    NeverStarted,
    OpenGate,
    Prestaged,
    Recovered,
    RunAttempt,
    Started,
    StopAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.footprint import footprint
from fetchml.core.gpus.model import Gpu, Obstacle, ObstacleKind
from fetchml.core.model import AttemptEnd, Resources, Status, Task, TaskSpec, User
from fetchml.core.quotas import queue_fault
from fetchml.core.reactor import step
from fetchml.core.scheduling.shares import ENTRIES, STEP_SECONDS, Shares, weight
from fetchml.core.state import Limits, State
from fetchml.core.waiting import MAX_DISCARDS, Discarding
from fetchml.engine.explain import explain
from tests.support import invariants

HOUR = 3_600_000
MINUTE = 60_000
RESERVE_MS = 10 * MINUTE


def test_use_is_counted_and_halved() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    shares.begin("alice", "t", weight=2.0, now=0)
    assert shares.used("alice", HOUR) == 2 * 3600
    shares.end("alice", "t", now=HOUR)
    assert shares.used("alice", HOUR) == 2 * 3600
    assert shares.used("alice", 25 * HOUR) == pytest.approx(3600)
    assert shares.used("bob", HOUR) == 0


def test_running_task_counts_from_its_start_as_if_it_had_run_a_while() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    shares.begin("alice", "t", weight=1.0, now=0)
    assert (shares.level("alice", 0), shares.level("bob", 0)) == (1, 0)
    shares.end("alice", "t", now=1000)
    assert shares.used("alice", 1000) == 1


def test_users_in_the_same_step_are_equals() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    for user, seconds in (("alice", 1), ("bob", STEP_SECONDS - 1), ("carol", STEP_SECONDS + 1)):
        shares.begin(user, "t", 1.0, now=0)
        shares.end(user, "t", now=int(seconds * 1000))
    levels = [shares.level(user, 301_000) for user in ("alice", "bob", "carol")]
    assert levels == [0, 0, 1]


def test_shares_come_back_after_a_restart() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    shares.begin("alice", "t", 1.0, now=0)
    shares.end("alice", "t", now=HOUR)
    again = Shares(24 * HOUR, shares.dump())
    assert again.used("alice", 2 * HOUR) == shares.used("alice", 2 * HOUR)


def test_time_that_goes_back_does_no_harm() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    shares.begin("alice", "t", 1.0, now=HOUR)
    shares.end("alice", "t", now=0)
    assert shares.used("alice", 0) == 0


def test_users_of_long_ago_are_forgotten() -> None:
    shares = Shares(half_life_ms=MINUTE)
    for number in range(3 * ENTRIES):
        shares.begin(f"user {number}", "t", 1.0, now=number * HOUR)
        shares.end(f"user {number}", "t", now=number * HOUR + MINUTE)
    assert len(shares.dump()) <= ENTRIES + 1


def test_task_without_gpus_counts_as_its_part_of_the_box() -> None:
    assert weight(Resources(cpu=16), cores=64) == 0.25
    assert weight(Resources(cpu=128), cores=64) == 1.0
    assert weight(Resources(cpu=64, gpu=2), cores=64) == 2.0
    assert weight(Resources(cpu=1), cores=0) == 1.0


class Box:
    def __init__(self, gpus: int = 2, max_running: int = 10, **limits: object) -> None:
        self.now = 1
        chosen = Limits(Resources(8, 32), max_running, RESERVE_MS, "box", **limits)  # type: ignore[arg-type]
        self.state = State(chosen)
        self.gpus = [Gpu(f"G{place}", place=place) for place in range(gpus)]
        self.last = Decision()
        self.do(Recovered(1))
        self.do(GpusSeen(1, self.gpus))
        self.do(LauncherChanged(1, available=True))

    def do(self, event: Event) -> list[str]:
        """Gives the tasks that start: their attempt begins, or their gate is opened."""
        self.last = step(self.state, event)
        invariants.check(self.state)
        started = []
        for effect in self.last.effects:
            if isinstance(effect, RunAttempt) and not effect.task.prestaged:
                started.append(effect.task.id)
            elif isinstance(effect, OpenGate):
                started.append(effect.task_id)
        return started

    def submit(self, *tasks: Task) -> list[str]:
        started = self.do(Submitted(self.now, list(tasks)))
        for task_id in started:
            self.do(Started(self.now, task_id, self.task(task_id).attempt, self.now))
        return started

    def end(self, task_id: str, **end: object) -> list[str]:
        task = self.task(task_id)
        how = AttemptEnd(at=self.now, started_at=self.now, **(end or {"code": 0}))  # type: ignore[arg-type]
        started = self.do(Ended(self.now, task_id, task.attempt, how))
        for uuid in task.gpu_uuids:
            started += self.do(GpuChecked(self.now, uuid))
        return started + self.do(Collected(self.now, task_id, task.attempt))

    def task(self, task_id: str) -> Task:
        return self.state.tasks[task_id]

    def told(self, task_id: str) -> str:
        return explain(self.state, self.task(task_id), self.now).reason

    def of(self, kind: type[StopAttempt] | type[DiscardAttempt]) -> list[str]:
        return [effect.task_id for effect in self.last.effects if isinstance(effect, kind)]

    @property
    def prestaged(self) -> dict[str, tuple[str, ...]]:
        return {task.id: task.gpu_uuids for task in self.state.under_way() if task.prestaged}


_numbers = itertools.count(1)


def task(name: str, gpu: int = 1, *, user: str = "alice", at: int = 0, **spec: object) -> Task:
    """Each a little younger than the one before."""
    asked = TaskSpec("job", "image", ("run",), gpu=gpu, **spec)  # type: ignore[arg-type]
    return Task(name, user, asked, at or next(_numbers))


def test_who_had_less_goes_first_even_if_younger() -> None:
    box = Box(gpus=1)
    box.submit(task("first"))
    box.submit(task("alice again"), task("bob", user="bob"))
    box.now = HOUR
    assert box.end("first") == ["bob"]


def test_priority_goes_before_shares() -> None:
    box = Box(gpus=1)
    box.submit(task("first"))
    box.submit(task("urgent", priority=6), task("bob", user="bob"))
    box.now = HOUR
    assert box.end("first") == ["urgent"]


def test_quota_of_running_gpus() -> None:
    box = Box(gpus=2, user_gpus=1)
    tasks = [task("a"), task("b"), task("no gpu", 0), task("bob", user="bob")]
    assert sorted(box.submit(*tasks)) == ["a", "bob", "no gpu"]
    assert box.told("b") == (
        "It waits for alice's own tasks: together they may hold 1 gpu, and hold 1."
    )
    assert box.end("a") == ["b"]


def test_who_waits_for_the_quota_keeps_nothing_from_others() -> None:
    box = Box(gpus=2, user_gpus=1)
    box.submit(task("a"), task("b"))
    box.now += 2 * RESERVE_MS
    assert box.submit(task("bob", user="bob", at=box.now)) == ["bob"]


def test_quota_of_waiting_tasks() -> None:
    box = Box(gpus=0, user_queued=2)
    box.submit(task("a"))
    one = footprint(task("more").spec)
    assert queue_fault(box.state, "alice", [one]) is None
    assert queue_fault(box.state, "alice", [one, one]) == (
        "1 tasks of alice wait, and no more than 2 may: submit when some ran"
    )
    assert queue_fault(box.state, "bob", [one, one]) is None


def test_quota_of_memory_of_live_tasks() -> None:
    box = Box(gpus=1, user_queued_bytes=8192)
    large = task("large", args="x" * 5000)
    size = footprint(large.spec)
    assert queue_fault(box.state, "alice", [size]) is None
    box.submit(large)
    fault = queue_fault(box.state, "alice", [size])
    assert fault is not None
    assert "0.0 are allowed: submit when some have ended" in fault
    assert queue_fault(box.state, "bob", [size]) is None
    box.end("large")
    assert queue_fault(box.state, "alice", [size]) is None


def test_quota_of_running_tasks() -> None:
    box = Box(gpus=3, user_running=1)
    tasks = [task("a"), task("b"), task("no gpu", 0), task("bob", user="bob")]
    assert sorted(box.submit(*tasks)) == ["a", "bob"]
    for name in ("b", "no gpu"):
        assert box.told(name) == "It waits for alice's own tasks: 1 of them may run at once."
    assert box.end("a") == ["b"]
    assert box.end("b") == ["no gpu"]


def test_who_waits_for_running_tasks_of_its_own_keeps_nothing_from_others() -> None:
    box = Box(gpus=2, user_running=1)
    box.submit(task("a"), task("b"))
    box.now += 2 * RESERVE_MS
    assert box.submit(task("bob", user="bob", at=box.now)) == ["bob"]


@pytest.mark.parametrize("quota", ["user_running", "user_gpus"])
def test_nobody_makes_way_for_what_the_quota_would_keep_waiting(quota: str) -> None:
    """The first of alice's tasks gets what one victim leaves; for the second no other makes way."""
    box = Box(gpus=2, preemption=True, **{quota: 1})
    box.submit(task("one", user="bob", preemptible=True))
    box.submit(task("two", user="carl", preemptible=True))
    box.submit(task("a", priority=6), task("b", priority=6))
    assert len(box.of(StopAttempt)) == 1


def test_preemptible_task_makes_way_and_is_not_counted() -> None:
    box = Box(gpus=1, preemption=True)
    box.submit(task("low", preemptible=True))
    assert box.submit(task("high", priority=6)) == []
    assert box.of(StopAttempt) == ["low"]
    assert box.told("low") == (
        "It is being ended, and tried again: it made way for a more urgent task."
    )
    assert box.end("low", code=0, stopped=True) == ["high"]
    low = box.task("low")
    assert (low.status, low.preempted, low.retry_count, low.infra_retries) == ("queued", 1, 0, 0)
    assert low.error == "attempt 1: it made way for a more urgent task"
    assert box.end("high") == ["low"]


def test_who_ended_by_itself_before_it_was_stopped_has_ended() -> None:
    box = Box(gpus=1, preemption=True)
    box.submit(task("low", preemptible=True))
    box.submit(task("high", priority=6))
    assert box.end("low", code=0) == ["high"]
    assert "low" not in box.state.tasks


def test_nobody_is_stopped_without_need() -> None:
    off = Box(gpus=1)
    off.submit(task("low", preemptible=True))
    off.submit(task("high", priority=6))
    assert off.of(StopAttempt) == []
    for other in ({"preemptible": False}, {"preemptible": True, "priority": 6}):
        box = Box(gpus=1, preemption=True)
        box.submit(task("low", **other))
        box.submit(task("high", priority=6))
        assert box.of(StopAttempt) == []


def test_no_more_are_stopped_than_needed_the_youngest_first() -> None:
    box = Box(gpus=4, preemption=True)
    for number in range(4):
        box.now += 1
        box.submit(task(f"low {number}", at=box.now, preemptible=True))
    box.submit(task("high", 2, priority=6))
    assert sorted(box.of(StopAttempt)) == ["low 2", "low 3"]


def test_who_does_not_help_is_not_stopped() -> None:
    """The youngest holds cores only: what is needed is a GPU."""
    box = Box(gpus=1, preemption=True)
    box.submit(task("gpu", preemptible=True))
    box.now += 1
    box.submit(task("cores", 0, cpu=4, preemptible=True))
    box.submit(task("high", priority=6))
    assert box.of(StopAttempt) == ["gpu"]


def test_nobody_is_stopped_for_a_task_that_would_not_fit_all_the_same() -> None:
    box = Box(gpus=2, preemption=True)
    box.submit(task("stays"), task("low", preemptible=True))
    box.submit(task("high", 2, priority=6))
    assert box.of(StopAttempt) == []


def test_what_is_freed_for_the_urgent_is_kept_for_it() -> None:
    """One of the two GPUs that it needs is free already: nobody else gets it."""
    box = Box(gpus=2, preemption=True)
    box.submit(task("low 1", preemptible=True), task("low 2", preemptible=True))
    box.submit(task("high", 2, priority=6))
    box.submit(task("small"))
    assert box.end("low 1", signal=15, stopped=True) == []
    assert box.end("low 2", signal=15, stopped=True) == ["high"]


def test_tasks_are_made_ready_for_gpus_that_others_hold() -> None:
    box = Box(gpus=2, prestage=True)
    box.submit(*(task(f"t{number}") for number in range(5)))
    assert box.prestaged == {"t2": ("G0",), "t3": ("G1",)}
    assert box.told("t2").endswith("It is made ready meanwhile.")
    shown = explain(box.state, box.task("t2"), box.now).status
    assert (shown, box.task("t2").shown_status) == (Status.QUEUED, Status.QUEUED)
    assert box.task("t2").worker_id is None
    box.do(Prestaged(1, "t2", 1))
    assert box.told("t2").endswith("It is ready to start.")
    assert box.end("t0") == ["t2"]
    assert (box.task("t2").shown_status, box.task("t2").worker_id) == (Status.PREPARING, "box")
    assert box.prestaged == {"t3": ("G1",), "t4": ("G0",)}


def test_prestaged_retry_still_shows_why_its_last_attempt_failed() -> None:
    box = Box(gpus=1, prestage=True)
    box.submit(task("runs"))
    box.submit(task("again", max_retries=1))
    box.do(NeverStarted(box.now, "again", 1, "no such image"))
    assert box.task("again").error == "attempt 1: no such image"
    box.now += 60_000
    box.do(TimePassed(box.now, box.now))
    assert box.prestaged == {"again": ("G0",)}
    assert box.task("again").error == "attempt 1: no such image"
    assert box.end("runs") == ["again"]
    assert box.task("again").error is None


def test_who_is_ready_where_a_gpu_becomes_free_passes_its_equals_for_a_while() -> None:
    box = Box(gpus=2, prestage=True)
    box.submit(*(task(f"t{number}") for number in range(5)))
    assert box.end("t1") == ["t3"], "t2 is ready for the other"
    box.now += 2 * RESERVE_MS
    assert box.end("t3") == []
    assert box.state.wait_state("t2") == Discarding(protected=True)
    assert box.do(NeverStarted(box.now, "t2", 1)) == ["t2"]
    assert (box.task("t2").retry_count, box.task("t2").attempt) == (0, 2)


def test_more_urgent_task_takes_the_place_of_one_made_ready() -> None:
    box = Box(gpus=1, prestage=True)
    box.submit(task("runs"), task("next"))
    assert box.prestaged == {"next": ("G0",)}
    box.submit(task("urgent", priority=6))
    assert box.of(DiscardAttempt) == ["next"]
    box.do(NeverStarted(box.now, "next", 1))
    assert box.task("next").status is Status.QUEUED
    assert box.prestaged == {"urgent": ("G0",)}
    assert box.end("runs") == ["urgent"]


def displaced(box: Box, name: str, times: int) -> None:
    """More urgent tasks take its place, one after the other, and are cancelled again."""
    for number in range(times):
        urgent = f"urgent {name} {number}"
        box.submit(task(urgent, priority=6 + number % 2))
        assert box.of(DiscardAttempt) == [name]
        box.do(NeverStarted(box.now, name, box.task(name).attempt))
        box.do(CancelRequested(box.now, urgent, User("alice")))
        box.do(NeverStarted(box.now, urgent, 1))


def test_a_stream_of_urgent_tasks_begins_no_attempt_again_and_again() -> None:
    box = Box(gpus=1, prestage=True)
    box.submit(task("runs"), task("next"), task("behind"))
    displaced(box, "next", MAX_DISCARDS)
    assert box.prestaged == {"behind": ("G0",)}, "the next in line is made ready instead"
    assert (box.task("next").attempt, box.task("next").discarded) == (2, 2)
    box.submit(task("urgent", priority=8))
    box.do(NeverStarted(box.now, "behind", 1))
    box.do(CancelRequested(box.now, "urgent", User("alice")))
    box.do(NeverStarted(box.now, "urgent", 1))
    assert box.prestaged == {"behind": ("G0",)}
    assert box.end("runs") == ["next"], "it is not passed by what is ready"
    assert box.task("next").attempt == 3


def test_all_of_a_line_were_thrown_away_too_often() -> None:
    box = Box(gpus=1, prestage=True)
    box.submit(task("runs"), task("next"))
    displaced(box, "next", MAX_DISCARDS)
    assert box.prestaged == {}
    assert box.end("runs") == ["next"]


def test_what_was_made_ready_for_a_gpu_that_is_drained_is_thrown_away() -> None:
    box = Box(gpus=1, prestage=True)
    box.submit(task("runs"), task("next"))
    box.do(GpuDrained(box.now, "G0", "root"))
    assert box.of(DiscardAttempt) == ["next"]


def test_what_waits_for_cores_is_made_ready_too_a_few() -> None:
    box = Box(gpus=0, max_running=1, prestage=True, max_prestaged=2)
    box.submit(*(task(f"t{number}", 0) for number in range(5)))
    assert box.prestaged == {"t1": (), "t2": ()}
    assert box.end("t0") == ["t1"]


def test_nothing_is_made_ready_unless_the_owner_wants_it() -> None:
    box = Box(gpus=1)
    box.submit(task("runs"), task("next"))
    assert box.prestaged == {}


def test_a_waiting_user_is_told_what_is_wrong_with_the_gpus() -> None:
    box = Box(gpus=2)
    blocked = Obstacle(ObstacleKind.BUSY, "python3 (pid 4711, 2.1 GiB)")
    box.do(GpusSeen(1, [Gpu("G0", blocked=blocked), box.gpus[1]]))
    box.submit(task("runs"), task("waits"))
    assert box.told("waits") == (
        "It waits for 1 gpu (0 of 2 free; G0: busy: python3 (pid 4711, 2.1 GiB))."
    )


def test_a_waiting_user_is_told_for_whom_a_gpu_is_kept() -> None:
    box = Box(gpus=2)
    box.submit(task("runs"), task("large", 2))
    box.now += 2 * RESERVE_MS
    box.submit(task("small", at=box.now))
    assert box.told("small") == (
        "What it needs is free, but reserved for large, which waited more than 10 minutes."
    )


def test_a_waiting_user_is_told_of_shares() -> None:
    box = Box(gpus=2, max_running=2)
    box.submit(task("runs"))
    box.do(LauncherChanged(1, available=False))
    box.submit(task("bob", user="bob"), task("waits"))
    assert explain(box.state, box.task("waits"), box.now).position == 2
    box.do(GpusSeen(1, []))
    box.do(LauncherChanged(1, available=True))
    assert box.told("waits").startswith("It waits for 1 gpu (0 of 2 free; ")
