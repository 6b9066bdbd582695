"""Time limits of tasks that wait or run, which change."""

import pytest
from msgspec.structs import replace

from fetchml.core.bookings.booking import MARGIN_MS, Booking, Bookings
from fetchml.core.bookings.running_tasks import extension_fault
from fetchml.core.events import (
    Decision,
    DiscardAttempt,
    Ended,
    LauncherChanged,
    LimitAttempt,
    NeverStarted,
    RunAttempt,
    Started,
    Submitted,
    UpdateRequested,
)
from fetchml.core.model import (
    AttemptEnd,
    Cancel,
    Halt,
    HaltCause,
    Resources,
    Status,
    Task,
    TaskSpec,
)
from fetchml.core.reactor import step
from fetchml.core.requests.update import InvalidUpdate, TaskUpdate, apply, read
from fetchml.core.state import Limits, State
from fetchml.core.verdict import judge
from tests.support.invariants import check
from tests.support.tasks import task

START = 1_000_000
RUNNING = task(
    status=Status.RUNNING, attempt=1, started_at=START, timeout_seconds=60, warn_seconds=5
)


def changed(before: Task, seconds: int, now: int = START, *, handed_over: bool = False) -> Task:
    outcome = apply(before, TaskUpdate(timeout_seconds=seconds), now=now, handed_over=handed_over)
    assert outcome.task is not None, outcome.conflict
    return outcome.task


def conflict(before: Task, seconds: int, now: int = START, *, handed_over: bool = False) -> str:
    outcome = apply(before, TaskUpdate(timeout_seconds=seconds), now=now, handed_over=handed_over)
    assert outcome.task is None
    return outcome.conflict or ""


@pytest.mark.parametrize("value", [-1, 2_147_484, True, 1.0, "60", None])
def test_limit_is_a_whole_number_of_seconds(value: object) -> None:
    with pytest.raises(InvalidUpdate, match="timeout_seconds"):
        read({"timeout_seconds": value})


def test_running_task_gets_more_or_less_time() -> None:
    for seconds in (6, 59, 61, 2_147_483, 0):
        after = changed(RUNNING, seconds)
        assert (after.spec.timeout_seconds, after.limit_changed) == (seconds, True)
    unlimited = replace(RUNNING, spec=replace(RUNNING.spec, timeout_seconds=0))
    assert changed(unlimited, 60, START + 59_999).spec.timeout_seconds == 60
    assert apply(RUNNING, TaskUpdate(timeout_seconds=60)).task is RUNNING


def test_passed_time_is_a_bound() -> None:
    assert "it has run for 30 s already" in conflict(RUNNING, 30, START + 30_000)
    assert changed(RUNNING, 31, START + 30_999).spec.timeout_seconds == 31
    assert "its time limit of 60 s is over" in conflict(RUNNING, 600, START + 60_000)
    assert changed(RUNNING, 600, START + 59_999).spec.timeout_seconds == 600


def test_warning_needs_its_time() -> None:
    with pytest.raises(InvalidUpdate, match="more than warn_seconds, which is 5"):
        apply(RUNNING, TaskUpdate(timeout_seconds=5), now=START)


def test_waiting_task_gets_its_limit_with_its_next_attempt() -> None:
    after = changed(task(timeout_seconds=60), 90)
    assert (after.spec.timeout_seconds, after.limit_changed) == (90, False)
    prestaged = task(status=Status.PREPARING, prestaged=True, attempt=1)
    assert changed(prestaged, 90).limit_changed


def test_limit_of_a_task_that_ends_stays() -> None:
    ending = replace(RUNNING, cancel=Cancel("alice", 1))
    halted = replace(RUNNING, halt=Halt(HaltCause.PREEMPTED, "it made way", 1))
    for each in (ending, halted):
        assert conflict(each, 90) == "timeout_seconds: the task is being ended"
    for status in (Status.COLLECTING, Status.COMPLETED, Status.FAILED):
        assert "has ended" in conflict(replace(RUNNING, status=status), 90)


def test_cluster_has_a_task_before_it_runs() -> None:
    pending = task(status=Status.PREPARING, prestaged=True, attempt=1)
    assert "the cluster already has the task" in conflict(pending, 90, handed_over=True)


def started_state() -> State:
    state = State(Limits(Resources(4, 8, 1), 2, 600_000, "host"))
    step(state, Submitted(5, [task("a", timeout_seconds=60, max_retries=1)]))
    step(state, LauncherChanged(6, available=True))
    step(state, Started(START, "a", 1, START))
    return state


def update(state: State, now: int, seconds: int) -> Decision:
    decision = step(state, UpdateRequested(now, "a", TaskUpdate(timeout_seconds=seconds)))
    check(state)
    return decision


def test_shim_gets_the_limit_after_the_change_is_durable() -> None:
    state = started_state()
    decision = update(state, START + 1, 600)
    assert decision.effects == [LimitAttempt("a", 600)]
    assert [each.spec.timeout_seconds for each in decision.changes] == [600]
    assert update(state, START + 2, 600).effects == [], "it is that already"
    assert update(state, START + 61_000, 61).changes == [], "too late"
    labels = step(state, UpdateRequested(START + 3, "a", TaskUpdate(metadata={"a": "b"})))
    assert labels.effects == []


def test_prestaged_attempt_of_an_older_release_is_prepared_again() -> None:
    """Its shim reads no limit, and its command has not begun."""
    state = State(Limits(Resources(4, 8, 1), 1, 600_000, "host", prestage=True))
    step(state, LauncherChanged(1, available=True))
    for number, name in enumerate(("runs", "a")):
        step(state, Submitted(5 + number, [task(name, timeout_seconds=60, created_at=number)]))
    assert state.tasks["a"].prestaged
    limit = TaskUpdate(timeout_seconds=600)
    event = UpdateRequested(7, "a", limit, prestage_again=True)
    assert step(state, event).effects == [LimitAttempt("a", 600), DiscardAttempt("a")]
    check(state)
    later = replace(event, update=TaskUpdate(timeout_seconds=700))
    assert step(state, later).effects == [LimitAttempt("a", 700)], "it is being discarded already"
    again = step(state, NeverStarted(8, "a", 1)).effects
    assert [each.task.spec.timeout_seconds for each in again if isinstance(each, RunAttempt)] == [
        700
    ]


def test_next_attempt_starts_with_the_limit() -> None:
    state = started_state()
    update(state, START + 1, 600)
    step(state, Ended(START + 9, "a", 1, AttemptEnd(at=START + 9, started_at=START, code=1)))
    assert state.tasks["a"].limit_changed, "the attempt is being collected"
    queued = replace(state.tasks["a"], status=Status.QUEUED, limit_changed=True)
    other = State(state.limits)
    step(other, Submitted(5, [queued]))
    [begun] = step(other, LauncherChanged(6, available=True)).effects
    assert isinstance(begun, RunAttempt)
    assert (begun.task.limit_changed, begun.task.spec.timeout_seconds) == (False, 600)


def timed_out(seconds: int, ran_ms: int, *, changed: bool) -> str:
    end = AttemptEnd(at=START + ran_ms, started_at=START, signal=15, timed_out=True)
    spec = TaskSpec(job_name="a", image="b", command=("c",), timeout_seconds=seconds)
    return judge(end, spec, None, changed=changed).error or ""


def test_error_names_the_limit_that_was_reached() -> None:
    assert timed_out(60, 60_010, changed=True) == "timed out after 60 s"
    assert timed_out(60, 59_990, changed=False) == "timed out after 60 s"
    for seconds in (600, 0):
        assert "earlier time limit before the change" in timed_out(seconds, 60_010, changed=True)


BOOKED_AT = START + 10_000_000


def booked(user: str = "ada") -> State:
    state = started_state()
    booking = Booking("b", user, ("gpu-1",), BOOKED_AT, BOOKED_AT + 1, 1, "root")
    state.bookings = Bookings([booking])
    return state


def fault(state: State, before: Task, seconds: int, now: int = START) -> str | None:
    after = replace(before, spec=replace(before.spec, timeout_seconds=seconds))
    return extension_fault(state, before, after, now)


def test_reserved_gpu_gives_no_more_time_than_is_left() -> None:
    most = (BOOKED_AT - START - MARGIN_MS) // 1000
    on_it = replace(RUNNING, gpu_uuids=("gpu-1",))
    state = booked()
    assert fault(state, on_it, most) is None
    for seconds in (most + 1, 0):
        assert f"reserved from 1970-01-01 03:03:20 UTC on: {most} s at most" in (
            fault(state, on_it, seconds) or ""
        )
    assert fault(booked(on_it.user), on_it, 0) is None, "it is reserved for this user"
    assert fault(state, replace(RUNNING, gpu_uuids=("gpu-2",)), 0) is None
    assert fault(state, on_it, 0, BOOKED_AT + 1) is None, "it is over"
    waiting = replace(on_it, status=Status.QUEUED)
    assert fault(state, waiting, 0) is None, "it gets another GPU"


def test_task_that_is_being_prepared_gets_no_more_time_either() -> None:
    """It holds its GPU, and starts at the earliest now."""
    on_it = replace(RUNNING, status=Status.PREPARING, started_at=None, gpu_uuids=("gpu-1",))
    most = (BOOKED_AT - START - MARGIN_MS) // 1000
    state = booked()
    assert fault(state, on_it, most) is None
    for seconds in (most + 1, 0):
        assert f"{most} s at most" in (fault(state, on_it, seconds) or "")
    assert f"{most - 60} s at most" in (fault(state, on_it, most, START + 60_000) or "")
    assert fault(state, replace(on_it, prestaged=True), 0) is None, "it does not hold the GPU"


def test_task_without_a_limit_may_get_any() -> None:
    """It was not put on the GPU because it ends in time, so every limit is an improvement."""
    spec = replace(RUNNING.spec, timeout_seconds=0)
    on_it = replace(RUNNING, gpu_uuids=("gpu-1",), spec=spec)
    assert fault(booked(), on_it, 2_000_000) is None
    long = replace(on_it, spec=replace(spec, timeout_seconds=20_000))
    assert fault(booked(), long, 19_000) is None, "shorter is always allowed"
    assert fault(booked(), long, 20_001) == "its GPU is reserved from 1970-01-01 03:03:20 UTC on"
