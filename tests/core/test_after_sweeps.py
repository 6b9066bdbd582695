"""Tasks that start after sweeps: when they start, when they fail, and what that costs."""

import pytest

from fetchml.core.dependencies import outcomes, request
from fetchml.core.events import (
    CancelRequested,
    LauncherChanged,
    Submitted,
)
from fetchml.core.model import Condition, Dependency, Status, SweepMember, Task, User
from fetchml.core.reactor import step
from fetchml.core.scheduling.waiting import Blocked
from fetchml.core.state import Limits, State
from fetchml.core.sweeps.progress import Failures
from fetchml.engine.explain import explain
from tests.core.test_dependencies import apply_to, end, failed, state_of
from tests.support.invariants import check
from tests.support.tasks import task


def of_sweep(name: str, size: int, *on: Dependency, most: int = 0) -> list[Task]:
    return [
        task(f"{name}{index}", sweep=SweepMember(name, index, {}, most), after=on or None)
        for index in range(size)
    ]


def whole(sweep_id: str, condition: Condition = Condition.COMPLETED) -> Dependency:
    return Dependency("", condition, sweep_id)


@pytest.mark.parametrize(
    ("condition", "codes", "starts"),
    [
        (Condition.COMPLETED, (0, 0), 2),
        (Condition.COMPLETED, (1, 0), None),
        (Condition.COMPLETED, (0, 1), None),
        (Condition.ENDED, (0, 0), 2),
        (Condition.ENDED, (1, 1), 2),
        (Condition.FAILED, (0, 0), None),
        (Condition.FAILED, (1, 0), 2),
        (Condition.FAILED, (0, 1), 2),
    ],
)
def test_task_starts_once_all_of_the_sweep_has_ended(
    condition: Condition, codes: tuple[int, int], starts: int | None
) -> None:
    state = state_of()
    apply_to(state, Submitted(5, of_sweep("s", 2)))
    apply_to(state, Submitted(6, [task("x", after=(whole("s", condition),))]))
    assert state.wait_state("x") == Blocked()
    broken: dict[str, str | None] = {}
    for number, code in enumerate(codes):
        assert "x" not in state.held
        broken |= failed(end(state, f"s{number}", code))
    assert ("x" in state.held) == (starts == 2)
    assert (broken.keys() == {"x"}) == (starts is None)
    assert not state.blocked.news


def test_first_failure_decides_and_is_named() -> None:
    state = state_of()
    apply_to(state, Submitted(5, of_sweep("s", 3)))
    apply_to(state, Submitted(6, [task("x", after=(whole("s"),))]))
    text = failed(end(state, "s1", 1))["x"]
    assert text == "it waited for all tasks of sweep s to complete, and task s1 has failed"
    waits = task("y", after=(whole("s", Condition.ENDED), whole("s2", Condition.ENDED)))
    apply_to(state, Submitted(6, of_sweep("s2", 1)), Submitted(7, [waits]))
    end(state, "s0", 1)
    assert explain(state, state.tasks["y"], 8).reason == (
        "It waits until all tasks of sweep s end (1 has not ended; 2 of them have failed, among "
        "them task s1) and all tasks of sweep s2 end (1 has not ended)."
    )
    hidden = explain(state, state.tasks["y"], 8, may_name=lambda _: False).reason
    assert hidden == "It waits until all tasks of sweep s end and all tasks of sweep s2 end."


def test_outcome_of_an_ended_sweep_comes_with_the_submit() -> None:
    state = state_of()
    tasks = [
        task("good", after=(whole("well"),)),
        task("bad", after=(whole("broken"),)),
        task("then", after=(whole("broken", Condition.FAILED),)),
        task("never", after=(whole("well", Condition.FAILED),)),
    ]
    known = {"broken": Failures(2, "b7"), "well": Failures()}
    broken = failed(apply_to(state, Submitted(5, tasks, (), {}, (), known)))
    assert broken.keys() == {"bad", "never"}
    assert "2 of them have failed, among them task b7" in (broken["bad"] or "")
    assert state.held.keys() == {"good", "then"}
    assert len(state.progress) == 0


def again(state: State, *replaced: Task, failures: dict[str, Failures] | None = None) -> None:
    """Submit failed tasks of a sweep again."""
    new = [task(f"{each.id}'", sweep=each.spec.sweep) for each in replaced]
    apply_to(state, Submitted(9, new, (), {}, replaced, failures or {}))


def test_condition_that_held_is_open_again_after_a_retry() -> None:
    state = state_of()
    sweep = of_sweep("s", 2)
    apply_to(state, Submitted(5, [*sweep, task("other")]))
    on = (whole("s", Condition.FAILED), Dependency("other"))
    apply_to(state, Submitted(6, [task("x", after=on)]))
    end(state, "s0", 1)
    end(state, "s1")
    assert [each.target for each in state.blocked.open_conditions("x")] == ["other"]
    again(state, sweep[0], failures={"s": Failures(1, "s0")})
    assert len(state.blocked.open_conditions("x")) == 2
    end(state, "other")
    assert state.wait_state("x") == Blocked()
    text = failed(end(state, "s0'"))["x"]
    assert text == "it starts only if a task fails, and all have completed of sweep s"


def test_restart_finds_a_sweep_that_ended_before_its_news_were_handled() -> None:
    limits = Limits(state_of().limits.capacity, 4, 600_000, "host")
    live = [task("bad", after=(whole("s"),)), task("then", after=(whole("s", Condition.ENDED),))]
    state = State.restore(limits, live, failures={"s": Failures(1, "s1"), "t": Failures(1, "t1")})
    assert failed(apply_to(state, LauncherChanged(1, available=True))).keys() == {"bad"}
    assert state.held.keys() == {"then"}
    assert outcomes.named(dict.fromkeys(["x"], live[0])) == frozenset()


def test_each_index_waits_for_the_same_index() -> None:
    state = state_of(max_running=9)
    first = of_sweep("a", 3)
    follow = {"a": [each.id for each in first]}
    on = Dependency("", Condition.COMPLETED, "a", same_index=True)
    second = [
        task(
            f"b{index}",
            sweep=SweepMember("b", index, {}),
            after=request.of_index(spec, index, follow).after,
        )
        for index, spec in enumerate(each.spec for each in of_sweep("b", 3, on))
    ]
    apply_to(state, Submitted(5, first), Submitted(6, second))
    end(state, "a1")
    assert state.held.keys() == {"a0", "a2", "b1"}
    text = failed(end(state, "a2", 1))["b2"]
    assert text == "it waited for a task that failed: a2 of sweep a"


def test_chain_of_a_hundred_sweeps() -> None:
    state = state_of()
    apply_to(state, Submitted(5, of_sweep("s0-", 2)))
    for number in range(1, 100):
        step(state, Submitted(6, of_sweep(f"s{number}-", 2, whole(f"s{number - 1}-"))))
    check(state)
    order = []
    for _ in range(3):
        order.append(sorted(state.held))
        for task_id in sorted(state.held):
            end(state, task_id)
    assert order == [[f"s{n}-0", f"s{n}-1"] for n in range(3)]
    changed = apply_to(state, CancelRequested(7, "s99-1", User("alice")))
    assert len(changed.changes) == 1
    [first, _] = sorted(state.held)
    broken = failed(end(state, first, 1))
    assert len(broken) == 2 * 96 - 1, "all but the one that was cancelled, and its own sweep"
    assert state.tasks.keys() == {"s3-1"}
    assert {each.status for each in state.tasks.values()} <= {Status.PREPARING, Status.RUNNING}
