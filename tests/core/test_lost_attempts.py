"""Attempts that a cluster has lost sight of."""

import pytest

from fetchml.core.events import LostDeclared, StopAttempt
from fetchml.core.model import AttemptEnd, FailureReason, Halt, HaltCause, Status, TaskSpec
from fetchml.core.scheduling import lost_attempts
from fetchml.core.verdict import judge
from tests.core.host import Host, task
from tests.support import tasks

SILENT = "Its node is silent."
HALT = Halt(HaltCause.DECLARED_LOST, "ada declared it lost", 1)
SPEC = TaskSpec("job", "image", ("run",))


@pytest.mark.parametrize(
    ("silent", "limit", "given_up", "is_lost"),
    [
        (10.0, 0, False, False),
        (10.0, 11, False, False),
        (10.0, 10, False, True),
        (0.0, 0, True, True),
    ],
)
def test_silence_alone_loses_nothing(
    silent: float, limit: int, given_up: bool, is_lost: bool
) -> None:
    assert lost_attempts.counts_as_lost(silent, limit, given_up=given_up) is is_lost


def test_only_a_running_task_with_a_silent_node_can_be_declared_lost() -> None:
    running = tasks.task(user="bob", status=Status.RUNNING)
    assert lost_attempts.fault(running, SILENT) is None
    assert "not silent" in (lost_attempts.fault(running, None) or "")
    waiting = tasks.task(user="bob", status=Status.QUEUED)
    assert "is queued" in (lost_attempts.fault(waiting, SILENT) or "")


@pytest.mark.parametrize(
    ("end", "reason", "error"),
    [
        ({"lost": "its node is silent"}, FailureReason.LOST, HALT.why),
        ({"signal": 15, "stopped": True}, FailureReason.LOST, HALT.why),
        # Its record came after all.
        ({"code": 0}, None, None),
        ({"code": 3}, FailureReason.EXIT_CODE, "exit code 3"),
    ],
)
def test_true_end_goes_before_the_declaration(
    end: dict[str, object], reason: FailureReason | None, error: str | None
) -> None:
    verdict = judge(AttemptEnd(at=1, **end), SPEC, None, HALT)  # type: ignore[arg-type]
    assert (verdict.reason, verdict.error) == (reason, error)


def test_declared_lost_task_is_ended_and_tried_again() -> None:
    host = Host()
    host.submit(task("a"))
    attempt = host.task("a").attempt
    host.do(LostDeclared(host.now, "a", attempt + 1, "ada"))
    assert host.task("a").halt is None, "of an attempt that is not the current one"
    host.do(LostDeclared(host.now, "a", attempt, "ada"))
    assert host.of(StopAttempt) == ["a"]
    assert "ada declared it lost" in host.reason("a")
    host.end("a", lost="its node is silent")
    again = host.task("a")
    assert (again.status, again.infra_retries, again.halt) == (Status.QUEUED, 1, None)
    assert "ada declared it lost" in (again.error or "")
