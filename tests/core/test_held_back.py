"""Tasks that are held, or that start later."""

from typing import Any

import pytest

from fetchml.core import submit_quotas
from fetchml.core.events import (
    CancelRequested,
    Decision,
    DiscardAttempt,
    Event,
    LauncherChanged,
    NeverStarted,
    Submitted,
    TimePassed,
    UpdateRequested,
)
from fetchml.core.model import Resources, Status, User
from fetchml.core.reactor import step
from fetchml.core.requests.update import TaskUpdate, apply, read
from fetchml.core.scheduling.waiting import (
    MOST_DUE_AT_ONCE,
    Discarding,
    HeldBackTasks,
    OnHold,
    Postponed,
    Queued,
)
from fetchml.core.state import Limits, State
from fetchml.engine.explain import explain
from tests.support.invariants import check
from tests.support.tasks import task


def state_of(**limits: Any) -> State:
    return State(Limits(Resources(4, 8, 1), 1, 600_000, "host", **limits))


def apply_to(state: State, *events: Event) -> Decision:
    for event in events:
        decision = step(state, event)
        check(state)
    return decision


def begun(decision: Decision) -> list[str]:
    return [each.id for each in decision.changes if each.status is Status.PREPARING]


def test_held_task_starts_when_it_is_released() -> None:
    state = state_of()
    apply_to(state, LauncherChanged(1, available=True))
    submit = Submitted(5, [task("held", hold=True, priority=9), task("other", cpu=1)])
    assert begun(apply_to(state, submit)) == ["other"]
    assert state.wait_state("held") == OnHold()
    assert state.next_due(0) is None
    explained = explain(state, state.tasks["held"], 6)
    assert "fetchml release" in explained.reason
    assert explained.position is None
    state = state_of()
    apply_to(state, LauncherChanged(1, available=True), submit)
    apply_to(state, CancelRequested(6, "other", User("alice")), NeverStarted(6, "other", 1))
    released = apply_to(state, UpdateRequested(7, "held", TaskUpdate(hold=False)))
    assert begun(released) == ["held"]
    assert state.tasks["held"].released_at == 7


def test_postponed_task_starts_at_its_time() -> None:
    state = state_of()
    apply_to(state, LauncherChanged(1, available=True))
    decision = apply_to(state, Submitted(5, [task("later", start_after=100)]))
    assert (begun(decision), decision.next_due) == ([], 100)
    assert state.wait_state("later") == Postponed(100)
    assert explain(state, state.tasks["later"], 6).reason == (
        "It starts no earlier than 1970-01-01 00:00:01 UTC."
    )
    early = apply_to(state, TimePassed(99, due=100))
    assert (begun(early), early.next_due) == ([], 100), "the wall clock decides"
    assert begun(apply_to(state, TimePassed(100, due=100))) == ["later"]
    assert begun(apply_to(state_with_launcher(), Submitted(5, [task("now", start_after=5)]))) == [
        "now"
    ]


def state_with_launcher() -> State:
    state = state_of()
    apply_to(state, LauncherChanged(1, available=True))
    return state


def test_times_and_holds_change_while_a_task_waits() -> None:
    state = state_with_launcher()
    apply_to(state, Submitted(5, [task("a", start_after=100)]))
    moved = apply_to(state, UpdateRequested(6, "a", TaskUpdate(start_after=50)))
    assert moved.next_due == 50
    held = apply_to(state, UpdateRequested(7, "a", TaskUpdate(hold=True)))
    assert held.next_due is None
    assert begun(apply_to(state, TimePassed(200))) == []
    assert begun(apply_to(state, UpdateRequested(201, "a", TaskUpdate(hold=False)))) == ["a"]
    late = apply_to(state, UpdateRequested(202, "a", TaskUpdate(hold=True, start_after=900)))
    assert late.changes == [], "it does not wait any more"
    state = state_with_launcher()
    apply_to(state, Submitted(5, [task("b", start_after=100)]))
    assert begun(apply_to(state, UpdateRequested(6, "b", TaskUpdate(start_after=0)))) == ["b"]


def test_hold_discards_the_prestaged_attempt_and_reserves_nothing() -> None:
    state = state_of(prestage=True)
    apply_to(state, LauncherChanged(1, available=True))
    apply_to(state, Submitted(5, [task("runs", gpu=1)]))
    apply_to(state, Submitted(6, [task("next", gpu=1, created_at=6)]))
    assert state.tasks["next"].prestaged
    decision = apply_to(state, UpdateRequested(7, "next", TaskUpdate(hold=True)))
    assert decision.effects == [DiscardAttempt("next")]
    assert isinstance(state.wait_state("next"), Discarding)
    apply_to(state, Submitted(8, [task("third", gpu=1, created_at=8)]))
    apply_to(state, NeverStarted(9, "next", 1))
    assert state.wait_state("next") == OnHold()
    assert state.tasks["next"].discarded == 0
    assert state.tasks["third"].prestaged, "it has the place"
    apply_to(state, UpdateRequested(10, "next", TaskUpdate(hold=False)))
    assert state.wait_state("next") == Queued()


def test_task_released_while_it_is_discarded_waits_on() -> None:
    state = state_of(prestage=True)
    apply_to(state, LauncherChanged(1, available=True))
    apply_to(state, Submitted(5, [task("runs", gpu=1)]))
    apply_to(state, Submitted(6, [task("next", gpu=1, created_at=6)]))
    apply_to(state, UpdateRequested(7, "next", TaskUpdate(start_after=1_000)))
    apply_to(state, UpdateRequested(8, "next", TaskUpdate(start_after=0)))
    assert isinstance(state.wait_state("next"), Discarding)
    apply_to(state, NeverStarted(9, "next", 1))
    assert state.tasks["next"].prestaged, "prestaged once more"


def test_held_tasks_count_as_waiting_and_can_be_cancelled() -> None:
    state = state_of(user_queued=2)
    apply_to(state, Submitted(5, [task("a", hold=True), task("b", start_after=100)]))
    assert submit_quotas.queue_fault(state, "alice", [0] * 1) is not None
    assert state.held_back.first(5) == ["b", "a"]
    assert state.held_back.first(5, "bob") == []
    ended = apply_to(state, CancelRequested(6, "a", User("alice"))).changes
    assert [each.status for each in ended] == [Status.FAILED]
    assert submit_quotas.queue_fault(state, "alice", [0] * 1) is None
    apply_to(state, CancelRequested(7, "b", User("alice")))
    assert state.next_due(0) is None
    assert not state.tasks


def test_many_tasks_with_the_same_time_are_due_in_several_decisions() -> None:
    state = state_of()
    apply_to(state, LauncherChanged(1, available=True))
    names = [f"t{number:04}" for number in range(1_000)]
    step(state, Submitted(5, [task(name, start_after=100) for name in names]))
    decisions = 0
    due: int | None = 100
    while due is not None and due <= 100:
        waiting = len(state.held_back)
        due = step(state, TimePassed(100, due)).next_due
        decisions += 1
        assert waiting - len(state.held_back) <= 2 * MOST_DUE_AT_ONCE
    check(state)
    assert decisions > 1
    assert not state.held_back
    assert len(state.queue) == len(names) - 1


def test_restart_keeps_holds_and_times() -> None:
    live = [task("a", hold=True), task("b", start_after=100), task("c", start_after=10)]
    state = State.restore(state_of().limits, live)
    check(state)
    assert begun(apply_to(state, LauncherChanged(50, available=True))) == ["c"]
    assert state.next_due(0) == 100
    copied = state.copy()
    copied.held_back.remove("a")
    check(state)


@pytest.mark.parametrize("fields", [{"hold": True}, {"start_after": "2030-01-01T00:00:00Z"}])
def test_only_waiting_tasks_are_held(fields: dict[str, object]) -> None:
    update = read(fields)
    prestaged = task(status=Status.PREPARING, prestaged=True)
    assert apply(prestaged, update).task is not None
    for other in (task(status=Status.RUNNING), task(status=Status.FAILED)):
        assert "can change only while the task waits" in (apply(other, update).conflict or "")
    assert "cluster" in (apply(prestaged, update, handed_over=True).conflict or "")


def test_times_are_read_and_removed() -> None:
    assert read({"start_after": "2026-12-01T20:00:00+01:00"}).start_after == 1_796_151_600_000
    for none in (None, ""):
        update = read({"start_after": none})
        assert update.start_after == 0
        changed = apply(task(start_after=5), update).task
        assert changed is not None
        assert changed.spec.start_after is None
        unchanged = task()
        assert apply(unchanged, update).task is unchanged
    assert TaskUpdate(hold=True, start_after=0).summary == "held; start_after none"
    assert TaskUpdate(hold=False, start_after=1_000).summary == (
        "released; start_after 1970-01-01T00:00:01+00:00"
    )


def test_changes_of_a_postponed_task_take_no_memory() -> None:
    tasks = HeldBackTasks()
    tasks.add(task("first"), Postponed(1))
    for until in range(1_000):
        tasks.add(task("later"), Postponed(100 + until % 2))
        tasks.remove("later")
    assert len(tasks.times) < 100
    assert tasks.due(1_000) == ["first"]
