"""Which tasks are preempted, and for which."""

from fetchml.core.events import (
    StopAttempt,
)
from tests.core.host import Host, task


def test_preempted_task_is_queued_again_uncounted() -> None:
    host = Host(gpus=1, preemption=True)
    host.submit(task("low", preemptible=True))
    assert host.submit(task("high", priority=6)) == []
    assert host.of(StopAttempt) == ["low"]
    assert host.reason("low") == (
        "It is being ended, and tried again: preempted by a more urgent task."
    )
    assert host.end("low", code=0, stopped=True) == ["high"]
    low = host.task("low")
    assert (low.status, low.preempted, low.retry_count, low.infra_retries) == ("queued", 1, 0, 0)
    assert low.error == "attempt 1: preempted by a more urgent task"
    assert host.end("high") == ["low"]


def test_task_that_ended_before_its_preemption_has_ended() -> None:
    host = Host(gpus=1, preemption=True)
    host.submit(task("low", preemptible=True))
    host.submit(task("high", priority=6))
    assert host.end("low", code=0) == ["high"]
    assert "low" not in host.state.tasks


def test_no_task_is_preempted_without_need() -> None:
    off = Host(gpus=1)
    off.submit(task("low", preemptible=True))
    off.submit(task("high", priority=6))
    assert off.of(StopAttempt) == []
    for other in ({"preemptible": False}, {"preemptible": True, "priority": 6}):
        host = Host(gpus=1, preemption=True)
        host.submit(task("low", **other))
        host.submit(task("high", priority=6))
        assert host.of(StopAttempt) == []


def test_as_few_tasks_as_possible_are_preempted() -> None:
    host = Host(gpus=4, preemption=True)
    for number in range(4):
        host.now += 1
        host.submit(task(f"low {number}", at=host.now, preemptible=True))
    host.submit(task("high", 2, priority=6))
    assert sorted(host.of(StopAttempt)) == ["low 2", "low 3"]


def test_task_that_does_not_help_is_not_preempted() -> None:
    """The youngest holds cores only: what is needed is a GPU."""
    host = Host(gpus=1, preemption=True)
    host.submit(task("gpu", preemptible=True))
    host.now += 1
    host.submit(task("cores", 0, cpu=4, preemptible=True))
    host.submit(task("high", priority=6))
    assert host.of(StopAttempt) == ["gpu"]


def test_no_task_is_preempted_for_one_that_would_not_fit() -> None:
    host = Host(gpus=2, preemption=True)
    host.submit(task("stays"), task("low", preemptible=True))
    host.submit(task("high", 2, priority=6))
    assert host.of(StopAttempt) == []


def test_preempted_resources_are_reserved_for_the_preemptor() -> None:
    """One of the two GPUs that it needs is free already: no other task gets it."""
    host = Host(gpus=2, preemption=True)
    host.submit(task("low 1", preemptible=True), task("low 2", preemptible=True))
    host.submit(task("high", 2, priority=6))
    host.submit(task("small"))
    assert host.end("low 1", signal=15, stopped=True) == []
    assert host.end("low 2", signal=15, stopped=True) == ["high"]
