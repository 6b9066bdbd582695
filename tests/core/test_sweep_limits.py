"""`max_parallel`: at most that many tasks of a sweep are under way, and none waits for ever."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from fetchml.core.events import (
    CancelRequested,
    GpusSeen,
    LauncherChanged,
    Started,
    TimePassed,
    UpdateRequested,
)
from fetchml.core.model import Status, SweepMember, Task, User
from fetchml.core.requests.update import TaskUpdate
from fetchml.core.state import State
from fetchml.core.submit_quotas import queue_fault
from tests.core.host import Host
from tests.support import invariants, tasks


def member(index: int, most: int, sweep_id: str = "s") -> SweepMember:
    return SweepMember(sweep_id, index, {"lr": str(index)}, most)


def of_sweep(count: int, most: int, **fields: Any) -> list[Task]:
    return [
        tasks.task(f"t{index:03}", sweep=member(index, most), **fields) for index in range(count)
    ]


def test_next_task_starts_when_one_ends() -> None:
    host = Host()
    assert host.submit(*of_sweep(5, 2)) == ["t000", "t001"]
    assert host.reason("t004") == (
        "It waits for other tasks of its sweep: max_parallel is 2, and 2 of them have begun or are "
        "next."
    )
    assert host.end("t001") == ["t002"]
    assert host.end("t000", code=1) == ["t003"]
    host.do(CancelRequested(host.now, "t004", User("alice")))
    assert host.end("t002") == []


def test_retry_keeps_its_place() -> None:
    host = Host()
    host.submit(*of_sweep(3, 1, max_retries=1))
    assert host.end("t000", code=1) == []
    assert "tried again" in host.reason("t000")
    assert host.task("t001").attempt == 0


def test_other_tasks_pass_a_sweep_that_is_at_its_limit() -> None:
    host = Host()
    host.submit(*of_sweep(9, 1))
    assert host.submit(tasks.task("other", user="bob")) == ["other"]


def test_more_urgent_task_of_a_sweep_is_next() -> None:
    host = Host()
    host.submit(*of_sweep(4, 1))
    for priority in range(1, 10):
        host.do(UpdateRequested(host.now, "t003", TaskUpdate(priority=priority)))
    assert host.end("t000") == ["t003"]
    assert host.end("t003") == ["t001"]


def test_restart_keeps_the_limit() -> None:
    host = Host()
    host.submit(*of_sweep(6, 2))
    host.end("t000")
    restored = State.restore(host.state.limits, host.state.tasks.values())
    invariants.check(restored)
    assert restored.sweeps.active(member(0, 2)) == 2
    waiting = [each.id for each in restored.tasks.values() if restored.sweeps.holds_back(each)]
    assert waiting == ["t003", "t004", "t005"]


def test_waiting_tasks_are_not_in_the_queue_that_decisions_look_at() -> None:
    """So 10,000 of them make no decision slower."""
    host = Host(max_running=4)
    host.submit(*of_sweep(1_000, 4))
    assert len(host.state.queue) == 0
    assert len(host.state.sweeps) == 996
    assert host.end("t002") == ["t004"]
    assert host.state.sweeps.first_waiting(3) == ["t005", "t006", "t007"]
    assert host.state.sweeps.first_waiting(3, "bob") == []


def test_tasks_that_wait_for_their_sweep_count_for_the_quota() -> None:
    host = Host(user_queued=5)
    host.submit(*of_sweep(4, 1))
    assert queue_fault(host.state, "alice", [0] * 2) is None
    assert "(alice has 3)" in str(queue_fault(host.state, "alice", [0] * 3))


@given(
    most=st.integers(1, 4),
    count=st.integers(1, 12),
    steps=st.lists(
        st.tuples(st.sampled_from(["end", "fail", "cancel", "restart"]), st.integers(0, 99)),
        max_size=20,
    ),
)
def test_every_task_ends_and_the_limit_holds(
    most: int, count: int, steps: list[tuple[str, int]]
) -> None:
    """`Host` checks the invariants after each step, the limit and unused places among them."""
    host = Host()
    started(host, host.submit(*of_sweep(count, most, max_retries=1)))
    for step, number in [*steps, *([("end", 0)] * 4 * count)]:
        live, held = list(host.state.tasks), list(host.state.held)
        if step == "restart":
            host.state = State.restore(host.state.limits, list(host.state.tasks.values()))
            host.do(GpusSeen(host.now, host.gpus))
            started(host, host.do(LauncherChanged(host.now, available=True)))
        elif step == "cancel" and live:
            host.do(CancelRequested(host.now, live[number % len(live)], User("alice")))
        elif held:
            code = int(step == "fail")
            started(host, host.end(held[number % len(held)], code=code))
        host.now += 600_000
        started(host, host.do(TimePassed(host.now, host.now)))
    assert not host.state.tasks


def started(host: Host, task_ids: list[str]) -> None:
    for task_id in task_ids:
        task = host.state.tasks.get(task_id)
        if task is not None and task.status is Status.PREPARING:
            host.do(Started(host.now, task_id, task.attempt, host.now))
