"""Batches that enter in parts."""

from typing import Any

import pytest
from msgspec.structs import replace

from fetchml.core import quotas
from fetchml.core.events import (
    BatchAnnounced,
    BatchWithdrawn,
    CancelRequested,
    Decision,
    Event,
    LauncherChanged,
    RunAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.footprint import footprint
from fetchml.core.model import (
    Condition,
    Dependency,
    FailureReason,
    Resources,
    Status,
    Task,
    User,
)
from fetchml.core.reactor import step
from fetchml.core.scheduling.arrival import is_needed
from fetchml.core.state import Limits, State
from fetchml.core.sweeps.member import SweepMember
from fetchml.core.sweeps.progress import Failures
from tests.support.invariants import check
from tests.support.tasks import task

NOW = 1_000
SIZE = footprint(task().spec)


def state_of(max_running: int = 1, **limits: Any) -> State:
    state = State(Limits(Resources(4, 8, 0), max_running, 600_000, "host", **limits))
    apply_to(state, LauncherChanged(1, available=True))
    return state


def apply_to(state: State, event: Event) -> Decision:
    decision = step(state, event)
    check(state)
    return decision


def announced(*tasks: Task, **fields: object) -> BatchAnnounced:
    sizes = [footprint(each.spec) for each in tasks]
    return BatchAnnounced(NOW, "alice", sizes, **fields)  # type: ignore[arg-type]


def part(*tasks: Task) -> Submitted:
    return Submitted(NOW, list(tasks), [footprint(each.spec) for each in tasks], part=True)


def started(decision: Decision) -> list[str]:
    return [effect.task.id for effect in decision.effects if isinstance(effect, RunAttempt)]


def test_most_urgent_task_of_a_batch_starts_first_whatever_part_it_is_in() -> None:
    state = state_of()
    less, more = task("a"), task("b", priority=10)
    apply_to(state, announced(less, more))
    assert started(apply_to(state, part(less))) == []
    assert started(apply_to(state, TimePassed(NOW))) == [], "nor by another event"
    assert started(apply_to(state, part(more))) == ["b"]
    assert state.arrival is None


def test_batch_that_arrives_counts_as_a_whole_in_quotas() -> None:
    state = state_of(user_queued=10, user_queued_bytes=10 * SIZE)
    tasks = [task(f"{number}") for number in range(8)]
    apply_to(state, announced(*tasks))
    for tasks_of_part in (tasks[:4], tasks[4:7], tasks[7:]):
        assert quotas.count_fault(state, "alice", 2) is None
        assert (quotas.count_fault(state, "alice", 3) or "").startswith("8 tasks of alice wait")
        assert quotas.queue_fault(state, "alice", [SIZE] * 2) is None
        assert quotas.queue_fault(state, "alice", [3 * SIZE]) is not None
        assert quotas.count_fault(state, "bob", 10) is None
        apply_to(state, part(*tasks_of_part))
    assert state.live_bytes == 8 * SIZE


def test_withdrawn_batch_leaves_nothing_and_holds_nothing_up() -> None:
    state = state_of(user_queued=10)
    member = SweepMember("s", 0, {}, 1)
    tasks = [
        task("0", priority=10),
        task("1", hold=True, inputs_from=("x",)),
        *(task(f"{n}", sweep=replace(member, index=n)) for n in range(2, 4)),
        *(task(f"{n}") for n in range(4, 8)),
    ]
    apply_to(state, announced(*tasks, inputs=frozenset({"x"})))
    apply_to(state, part(*tasks[:4]))
    apply_to(state, Submitted(NOW, [task("other")]))
    entered = frozenset(each.id for each in tasks[:4])
    assert started(apply_to(state, BatchWithdrawn(NOW, entered))) == ["other"]
    assert list(state.tasks) == ["other"]
    assert quotas.count_fault(state, "alice", 10) is None
    assert state.live_bytes == SIZE
    assert "s" not in state.progress
    assert not is_needed(state, "x")
    assert apply_to(state, BatchWithdrawn(NOW, entered)).changes == []


def test_task_that_starts_after_one_of_a_withdrawn_batch_fails() -> None:
    """Its condition would stay open for ever."""
    state = state_of()
    apply_to(state, announced(task("a"), task("b")))
    apply_to(state, part(task("a")))
    apply_to(state, Submitted(NOW, [task("after", after=(Dependency("a", Condition.COMPLETED),))]))
    decision = apply_to(state, BatchWithdrawn(NOW, frozenset({"a"})))
    require_outcome(decision, "after", runs=False)


def test_one_batch_arrives_at_a_time() -> None:
    state = state_of()
    apply_to(state, announced(task()))
    with pytest.raises(ValueError, match="while another one arrives"):
        step(state, announced(task()))


def require_outcome(decision: Decision, task_id: str, *, runs: bool) -> None:
    """Whether a task was started, or failed because of its conditions."""
    if runs:
        assert started(decision) == [task_id]
    else:
        last = decision.changes[-1]
        assert (last.id, last.failure_reason) == (task_id, FailureReason.DEPENDENCY_FAILED)


@pytest.mark.parametrize("condition", [Condition.ENDED, Condition.COMPLETED])
def test_task_that_ends_while_a_batch_arrives_decides_conditions_of_later_parts(
    condition: Condition,
) -> None:
    state = state_of()
    apply_to(state, Submitted(NOW, [task("first", hold=True)]))
    held, last = task("a", hold=True), task("b", after=(Dependency("first", condition),))
    apply_to(state, announced(held, last))
    apply_to(state, part(held))
    apply_to(state, CancelRequested(NOW, "first", User("alice")))
    require_outcome(apply_to(state, part(last)), "b", runs=condition is Condition.ENDED)


@pytest.mark.parametrize("condition", [Condition.FAILED, Condition.COMPLETED])
def test_sweep_that_ends_while_a_batch_arrives_decides_conditions_of_later_parts(
    condition: Condition,
) -> None:
    state = state_of()
    member = SweepMember("s", 0, {}, 0)
    apply_to(state, Submitted(NOW, [task("first", hold=True, sweep=member)]))
    held, last = task("a", hold=True), task("b", after=(Dependency("", condition, "s"),))
    apply_to(state, announced(held, last))
    apply_to(state, part(held))
    apply_to(state, CancelRequested(NOW, "first", User("alice")))
    assert state.progress.of("s").failures == Failures(1, "first"), "kept for later parts"
    # Another submission that brings outcomes of a sweep does not drop it.
    other = task("c", hold=True, after=(Dependency("", Condition.ENDED, "s2"),))
    apply_to(state, Submitted(NOW, [other], failures={"s2": Failures()}))
    require_outcome(apply_to(state, part(last)), "b", runs=condition is Condition.FAILED)
    assert "s" not in state.progress


def test_conditions_are_decided_when_the_batch_is_whole() -> None:
    """Else all tasks of a sweep could have ended before the last ones enter."""
    state = state_of()
    on = (Dependency("gone", Condition.COMPLETED),)
    member = SweepMember("s", 0, {}, 0)
    tasks = [task(f"{n}", after=on, sweep=replace(member, index=n)) for n in range(2)]
    apply_to(state, announced(*tasks, ended={"gone": Status.FAILED}))
    first = apply_to(state, part(tasks[0]))
    assert [each.status for each in first.changes] == [Status.QUEUED]
    assert first.next_due is None, "no timer runs in circles until then"
    second = apply_to(state, part(tasks[1]))
    assert [each.status for each in second.changes[1:]] == [Status.FAILED] * 2
    assert [notice.ends_sweep for notice in second.notices] == [True]


def test_what_an_arriving_batch_needs_is_known_from_its_announcement_on() -> None:
    state = state_of()
    after = (Dependency("x", Condition.ENDED),)
    needing = task("t", hold=True, inputs_from=("x",), after=after)
    apply_to(state, announced(needing, ended={"x": Status.FAILED}, inputs=frozenset({"x"})))
    assert is_needed(state, "x")
    assert not is_needed(state, "y")
    apply_to(state, part(needing))
    assert is_needed(state, "x"), "by the task itself"
    apply_to(state, CancelRequested(NOW, "t", User("alice")))
    assert not is_needed(state, "x")


def test_copy_for_an_estimate_has_no_arrival() -> None:
    state = state_of()
    apply_to(state, announced(task("a"), task("b")))
    apply_to(state, part(task("a")))
    assert state.copy().arrival is None
    assert state.arrival is not None
