"""Warnings and interruptions, and the state of the task afterwards."""

import pytest

from fetchml.core.events import CancelRequested, InterruptRequested, Manner, StopAttempt
from fetchml.core.model import Server, Task, User
from tests.core.host import Host, task


def manners(host: Host) -> list[tuple[str, Manner]]:
    return [(e.task_id, e.manner) for e in host.last.effects if isinstance(e, StopAttempt)]


def interrupt(host: Host, task_id: str) -> None:
    host.do(InterruptRequested(host.now, task_id, "alice"))


def test_users_cancel_warns_first_and_the_servers_does_not() -> None:
    for by, manner in ((User("alice"), Manner.WARN), (Server("the server"), Manner.TERMINATE)):
        host = Host()
        host.submit(task("a", warn_seconds=30))
        host.do(CancelRequested(host.now, "a", by))
        assert manners(host) == [("a", manner)]
    host = Host()
    host.submit(task("a"))
    host.do(CancelRequested(host.now, "a", User("alice")))
    assert manners(host) == [("a", Manner.TERMINATE)]


@pytest.mark.parametrize("code", [0, 3])
def test_preempted_task_that_leaves_after_the_warning_is_queued_again(code: int) -> None:
    host = Host(gpus=1, preemption=True)
    host.submit(task("low", preemptible=True, warn_seconds=30))
    host.submit(task("high", priority=6))
    assert manners(host) == [("low", Manner.WARN)]
    host.now += 5
    assert host.end("low", code=code) == ["high"]
    low = host.task("low")
    assert (low.status, low.preempted, low.retry_count, low.infra_retries) == ("queued", 1, 0, 0)


def test_task_that_ended_before_the_warning_has_ended() -> None:
    host = Host(gpus=1, preemption=True)
    host.submit(task("low", preemptible=True, warn_seconds=30))
    host.now += 5
    host.submit(task("high", priority=6))
    host.now -= 5
    host.end("low", code=0)
    assert "low" not in host.state.tasks


def test_interrupted_task_is_queued_again_uncounted() -> None:
    host = Host()
    host.submit(task("a"))
    interrupt(host, "a")
    assert manners(host) == [("a", Manner.KILL)]
    interrupt(host, "a")
    assert manners(host) == []
    assert host.end("a", signal=9) == ["a"]
    again = host.task("a")
    assert (again.attempt, again.preempted, again.retry_count, again.infra_retries) == (2, 0, 0, 0)
    assert host.last.changes[-2].error == "attempt 1: interrupted by alice"


@pytest.mark.parametrize("end", [{"signal": 9}, {"lost": "gone"}, {"code": 1}])
def test_interruption_survives_a_restart(end: dict[str, object]) -> None:
    host = Host()
    host.submit(task("a"))
    interrupt(host, "a")
    host.restart()
    assert manners(host) == [("a", Manner.KILL)]
    host.end("a", **end)
    assert (host.task("a").status, host.task("a").infra_retries) == ("queued", 0)


def test_interrupted_task_that_had_done_its_work_has_ended() -> None:
    host = Host()
    host.submit(task("a"))
    interrupt(host, "a")
    host.end("a", code=0)
    assert "a" not in host.state.tasks


def test_cancel_of_an_interrupted_task_holds() -> None:
    host = Host()
    host.submit(task("a", warn_seconds=9))
    interrupt(host, "a")
    host.do(CancelRequested(host.now, "a", User("alice")))
    host.end("a", signal=9)
    assert _last(host).error == "cancelled by alice"


@pytest.mark.parametrize("state", ["waiting", "cancelled", "unknown"])
def test_only_a_running_task_is_interrupted(state: str) -> None:
    host = Host(max_running=1)
    host.submit(task("a"))
    host.submit(task("b"))
    if state == "cancelled":
        host.do(CancelRequested(host.now, "a", User("alice")))
    interrupt(host, {"waiting": "b", "cancelled": "a", "unknown": "c"}[state])
    assert (host.last.changes, host.last.effects) == ([], [])


def test_command_that_does_not_handle_the_warning_ran_out_of_time() -> None:
    host = Host()
    host.submit(task("a", timeout_seconds=60, warn_seconds=30))
    host.end("a", signal=10, warned=True)
    assert _last(host).failure_reason == "TIMEOUT"
    assert _last(host).error == (
        "ended by SIGUSR1, the warning 30 s before its time limit of 60 s, which the command does "
        "not handle"
    )


def _last(host: Host) -> Task:
    return host.last.changes[-1]
