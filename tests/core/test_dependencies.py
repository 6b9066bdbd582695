"""Tasks that start after others: when they start, and when they fail."""

import time
from typing import Any

import pytest

from fetchml.core.dependencies import outcomes
from fetchml.core.events import (
    CancelRequested,
    Collected,
    Decision,
    Ended,
    Event,
    LauncherChanged,
    Started,
    Submitted,
    TimePassed,
    UpdateRequested,
)
from fetchml.core.model import (
    AttemptEnd,
    Condition,
    Dependency,
    FailureReason,
    Resources,
    Status,
    Task,
    User,
)
from fetchml.core.reactor import step
from fetchml.core.requests import rerun, submission
from fetchml.core.requests.submission import Defaults, TaskLimits
from fetchml.core.requests.update import TaskUpdate
from fetchml.core.scheduling.ready_queue import entry_of
from fetchml.core.scheduling.waiting import Blocked, OnHold, Postponed, Queued
from fetchml.core.state import Limits, State
from fetchml.engine.explain import explain
from tests.support.accepting import accept
from tests.support.invariants import check
from tests.support.tasks import task

NOW = 1_000


def after(*task_ids: str, condition: Condition = Condition.COMPLETED) -> tuple[Dependency, ...]:
    return tuple(Dependency(task_id, condition) for task_id in task_ids)


def state_of(max_running: int = 4) -> State:
    state = State(Limits(Resources(4, 8, 1), max_running, 600_000, "host"))
    step(state, LauncherChanged(1, available=True))
    return state


def apply_to(state: State, *events: Event) -> Decision:
    """Apply events, and then what the decisions leave for later."""
    whole = Decision()
    for event in events:
        decision = step(state, event)
        check(state)
        whole.changes += decision.changes
        while state.blocked.news:
            assert decision.next_due == event.now
            decision = step(state, TimePassed(event.now))
            check(state)
            whole.changes += decision.changes
    return whole


def end(state: State, task_id: str, code: int = 0, now: int = NOW) -> Decision:
    number = state.tasks[task_id].attempt
    return apply_to(
        state,
        Started(now, task_id, number, now),
        Ended(now, task_id, number, AttemptEnd(at=now, started_at=now, code=code)),
        Collected(now, task_id, number),
    )


def failed(decision: Decision) -> dict[str, str | None]:
    return {
        each.id: each.error
        for each in decision.changes
        if each.failure_reason is FailureReason.DEPENDENCY_FAILED
    }


@pytest.mark.parametrize(
    ("condition", "code", "starts"),
    [
        (Condition.COMPLETED, 0, True),
        (Condition.COMPLETED, 1, False),
        (Condition.ENDED, 0, True),
        (Condition.ENDED, 1, True),
        (Condition.FAILED, 0, False),
        (Condition.FAILED, 1, True),
    ],
)
def test_task_starts_if_its_condition_holds(condition: Condition, code: int, starts: bool) -> None:
    state = state_of()
    waits = task("b", after=after("a", condition=condition))
    apply_to(state, Submitted(5, [task("a")]), Submitted(6, [waits]))
    assert state.wait_state("b") == Blocked()
    decision = end(state, "a", code)
    assert (failed(decision) == {}) == starts
    if starts:
        assert state.tasks["b"].status is Status.PREPARING
        assert (state.tasks["b"].after_met, state.tasks["b"].released_at) == (True, NOW)
    else:
        assert "a" in (failed(decision)["b"] or "")
        assert not state.tasks


def test_outcomes_of_ended_tasks_come_with_the_submit() -> None:
    state = state_of()
    tasks = [
        task("well", after=after("done")),
        task("bad", after=after("broken")),
        task("then", after=after("broken", condition=Condition.FAILED)),
    ]
    outcomes = {"done": Status.COMPLETED, "broken": Status.FAILED}
    decision = apply_to(state, Submitted(5, tasks, (), outcomes))
    assert failed(decision).keys() == {"bad"}
    assert state.held.keys() == {"well", "then"}


def test_retried_attempt_is_no_end() -> None:
    state = state_of()
    apply_to(state, Submitted(5, [task("a", max_retries=1)]))
    apply_to(state, Submitted(6, [task("b", after=after("a"))]))
    end(state, "a", 1)
    assert state.wait_state("b") == Blocked()
    apply_to(state, TimePassed(NOW + 100_000))
    end(state, "a", 0, NOW + 100_001)
    assert "b" in state.held


def test_all_conditions_have_to_hold_and_one_failure_suffices() -> None:
    state = state_of()
    apply_to(state, Submitted(5, [task("a"), task("b"), task("c")]))
    apply_to(state, Submitted(6, [task("all", after=after("a", "b", "c"))]))
    end(state, "b")
    assert [each.task_id for each in state.blocked.open_conditions("all")] == ["a", "c"]
    assert explain(state, state.tasks["all"], 7).reason == (
        "It waits until task a completes (it is preparing) and task c completes (it is preparing)."
    )
    assert explain(state, state.tasks["all"], 7).position is None
    hidden = explain(state, state.tasks["all"], 7, may_name=lambda _: False).reason
    assert "preparing" not in hidden
    assert failed(end(state, "c", 1)).keys() == {"all"}
    end(state, "a")
    assert not state.tasks


def test_cancelled_task_fails_those_that_wait_for_it() -> None:
    state = state_of()
    apply_to(state, Submitted(5, [task("a", hold=True)]))
    apply_to(state, Submitted(6, [task("b", after=after("a")), task("x", after=after("a"))]))
    apply_to(state, CancelRequested(7, "x", User("alice")))
    decision = apply_to(state, CancelRequested(8, "a", User("alice")))
    assert failed(decision).keys() == {"b"}
    assert not state.blocked.news


def test_hold_condition_and_time_all_count() -> None:
    state = state_of()
    waits = task("b", after=after("a"), hold=True, start_after=5_000)
    apply_to(state, Submitted(5, [task("a")]), Submitted(6, [waits]))
    assert state.wait_state("b") == OnHold()
    apply_to(state, UpdateRequested(7, "b", TaskUpdate(hold=False)))
    assert state.wait_state("b") == Blocked()
    apply_to(state, UpdateRequested(8, "b", TaskUpdate(hold=True)))
    end(state, "a")
    assert state.wait_state("b") == OnHold()
    apply_to(state, UpdateRequested(9, "b", TaskUpdate(hold=False)))
    assert state.wait_state("b") == Postponed(5_000)
    apply_to(state, TimePassed(5_000))
    assert "b" in state.held


def test_held_task_fails_with_the_task_that_it_waits_for() -> None:
    state = state_of()
    waits = task("b", after=after("a"), hold=True)
    apply_to(state, Submitted(5, [task("a")]), Submitted(6, [waits]))
    assert failed(end(state, "a", 1)).keys() == {"b"}


def test_waiting_time_begins_when_the_last_condition_holds() -> None:
    state = state_of(max_running=1)
    apply_to(state, Submitted(5, [task("a"), task("other")]))
    apply_to(state, Submitted(6, [task("b", after=after("a"))]))
    end(state, "a", now=7_000)
    waits = next(each for each in ("b", "other") if each in state.queue)
    assert entry_of(state.tasks["b"]).ready_at == 7_000
    assert state.wait_state(waits) == Queued()


def chain(length: int) -> State:
    state = state_of()
    apply_to(state, Submitted(5, [task("t0")]))
    for number in range(1, length):
        step(state, Submitted(6, [task(f"t{number}", after=after(f"t{number - 1}"))]))
    check(state)
    return state


def test_long_chain_fails_in_short_steps() -> None:
    state = chain(1_000)
    steps, ended = [end_event(state)], 0
    while steps:
        began = time.thread_time()
        decision = step(state, steps.pop())
        assert time.thread_time() - began < 1, "20 ms on a machine of its own"
        ended += sum(each.status is Status.FAILED for each in decision.changes)
        assert len(decision.changes) <= outcomes.MOST_AT_ONCE + 1
        if state.blocked.news:
            steps.append(TimePassed(NOW))
    check(state)
    assert (ended, state.tasks) == (1_000, {})


def end_event(state: State) -> Event:
    step(state, Started(NOW, "t0", 1, NOW))
    step(state, Ended(NOW, "t0", 1, AttemptEnd(at=NOW, started_at=NOW, code=1)))
    return Collected(NOW, "t0", 1)


def test_restart_goes_on_with_open_conditions() -> None:
    """Also if the server was killed between an end and what it means for others."""
    before = state_of()
    apply_to(before, Submitted(5, [task("a"), task("b")]))
    waiting = [
        task("both", after=after("a", "b")),
        task("broken", after=after("a", "gone")),
        task("met", after=after("forgotten"), after_met=True),
        task("done", after=after("well")),
    ]
    live = {each.id: each for each in (*before.tasks.values(), *waiting)}
    assert outcomes.named(live) == {"gone", "well"}
    ended = {"gone": Status.FAILED, "well": Status.COMPLETED}
    state = State.restore(before.limits, list(live.values()), ended=ended)
    decision = apply_to(state, LauncherChanged(50, available=True))
    assert failed(decision).keys() == {"broken"}
    assert state.held.keys() == {"a", "b", "met", "done"}
    assert len(state.blocked.open_conditions("both")) == 2
    unknown = State.restore(before.limits, [task("x", after=after("nowhere"))])
    assert failed(apply_to(unknown, LauncherChanged(50, available=True))).keys() == {"x"}


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("a", "must be a list"),
        (
            [1],
            "item 0 must be the id of a task, or an object with task_id or sweep_id, and condition",
        ),
        ([""], "item 0 must not be empty"),
        (["a" * 65], "item 0 must not be longer than 64 characters"),
        ([{}], "item 0 must have task_id or sweep_id"),
        ([{"task_id": "a", "sweep_id": "b"}], "item 0 must have task_id or sweep_id, not both"),
        ([{"sweep_id": "a", "same_index": 1}], "item 0 same_index must be true or false"),
        ([{"task_id": "a", "same_index": True}], "item 0 same_index is only for a sweep"),
        ([{"sweep_id": "a"}, {"sweep_id": "a", "same_index": True}], "sweep 'a' twice"),
        ([{"task_id": None}], "item 0 task_id must not be null: leave it out"),
        ([{"task_id": "a", "condition": "Done"}], "one of completed, ended, failed"),
        (["a", {"task_id": "a", "condition": "failed"}], "must not name task 'a' twice"),
        (["a\nb"], "item 0 must"),
        ([str(n) for n in range(1_001)], "must not have more than 1000 items"),
    ],
)
def test_broken_rule_is_named(value: Any, rule: str) -> None:
    assert rule in (submission.field_fault("after", value) or "")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("a", "must be a list"),
        ([{"task_id": "a"}], "item 0 must be a string"),
        (["a", "b", "a"], "must not name task 'a' twice"),
        ([str(n) for n in range(101)], "must not have more than 100 items"),
    ],
)
def test_broken_rule_of_inputs_is_named(value: Any, rule: str) -> None:
    assert rule in (submission.field_fault("inputs_from", value) or "")


def test_inputs_are_waited_for_and_counted() -> None:
    defaults = Defaults("i", ("c",), TaskLimits(), 0)
    request: dict[str, object] = {
        "job_name": "a",
        "after": [{"task_id": "x", "condition": "ended"}, "z"],
        "inputs_from": ["x", "y"],
    }
    spec = accept(request, defaults, Resources(1, 1))
    assert spec.inputs_from == ("x", "y")
    assert spec.after == (Dependency("x", Condition.ENDED), Dependency("z"), Dependency("y"))
    ran = Task("t", "ada", spec, 1, Status.FAILED, attempt=1)
    kept = rerun.request_of(ran)
    assert kept["inputs_from"] == ["x", "y"]
    assert [each["task_id"] for each in kept["after"]] == ["x", "y"]  # type: ignore[attr-defined]
    inside = {**request, "dataset_specs": [{"name": "d", "mount_path": "/inputs/d"}]}
    with pytest.raises(submission.InvalidSubmission, match="must not lie in /inputs"):
        accept(inside, defaults, Resources(1, 1))
    del inside["inputs_from"]
    assert accept(inside, defaults, Resources(1, 1)).inputs_from is None
    state = state_of()
    outcomes = dict.fromkeys("xyz", Status.COMPLETED)
    apply_to(state, Submitted(5, [Task("t", "ada", spec, 1)], (), outcomes))
    assert state.inputs == {"x": {"t"}, "y": {"t"}}
    apply_to(state, CancelRequested(6, "t", User("ada")))
    assert "t" in state.tasks, "its container may still be there"
    end(state, "t")
    assert state.inputs == {}
