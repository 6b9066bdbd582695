"""What a task keeps of its earlier attempts."""

from sys import getsizeof
from typing import Any

import pytest

from fetchml.core import submit_quotas
from fetchml.core.events import (
    CancelRequested,
    Collected,
    Ended,
    InterruptRequested,
    NeverStarted,
    Started,
    Submitted,
    TimePassed,
)
from fetchml.core.footprint import ATTEMPT_BYTES, spec_footprint, task_footprint
from fetchml.core.lifecycle import MOST_KEPT, MOST_TEXT
from fetchml.core.model import (
    Attempt,
    AttemptEnd,
    FailureReason,
    Requeue,
    Status,
    Task,
    User,
)
from fetchml.core.retry import MOST_DELAY_MS
from tests.core.host import Host, task


def retries(number: int) -> Task:
    """A task that needs no GPU."""
    return task("a", 0, max_retries=number)


def fail(host: Host, **end: object) -> None:
    """The attempt runs for a second and fails; the next one begins after its delay."""
    now = host.now
    host.now += 1000
    attempt = host.task("a").attempt
    how = AttemptEnd(at=now + 900, started_at=now, **(end or {"code": 3}))  # type: ignore[arg-type]
    host.do(Ended(host.now, "a", attempt, how))
    host.do(Collected(host.now, "a", attempt))
    host.now += MOST_DELAY_MS
    host.do(TimePassed(host.now, host.now))
    if "a" in host.state.tasks:
        host.do(Started(host.now, "a", attempt + 1, host.now))


def earlier(host: Host) -> tuple[Attempt, ...]:
    return host.task("a").earlier_attempts


def test_failed_attempt_is_kept_with_its_times_place_and_reason() -> None:
    host = Host()
    host.submit(retries(2))
    begun = host.task("a")
    assert (begun.begun_at, begun.allocated_at, begun.earlier_attempts) == (1, 1, ())
    fail(host)
    assert earlier(host) == (
        Attempt(
            1,
            Requeue.RETRY,
            901,
            begun_at=1,
            allocated_at=1,
            started_at=1,
            worker_id="box",
            failure_reason=FailureReason.EXIT_CODE,
            exit_code=3,
            error="exit code 3",
        ),
    )
    assert host.task("a").begun_at == 1001 + MOST_DELAY_MS
    fail(host, signal=9)
    assert [(each.number, each.exit_code) for each in earlier(host)] == [(1, 3), (2, 137)]


def test_last_attempt_is_the_tasks_own() -> None:
    """A record of it would say the same twice."""
    host = Host()
    host.submit(retries(1))
    fail(host)
    host.do(Ended(host.now, "a", 2, AttemptEnd(at=host.now, started_at=host.now, code=4)))
    host.do(Collected(host.now, "a", 2))
    [last] = [each for each in host.last.changes if each.status is Status.FAILED]
    assert [each.number for each in last.earlier_attempts] == [1]
    assert (last.attempt, last.exit_code, last.exited_at) == (2, 4, host.now)


def test_fault_of_the_host_is_no_retry() -> None:
    host = Host()
    host.submit(retries(0))
    fail(host, lost="the engine was restarted")
    [attempt] = earlier(host)
    assert (attempt.cause, attempt.failure_reason) == (Requeue.HOST_FAULT, FailureReason.LOST)
    assert (attempt.error, attempt.exit_code) == ("the engine was restarted", None)


def test_preparation_that_fails_is_an_attempt_without_a_start() -> None:
    host = Host()
    host.do(Submitted(host.now, [retries(1)]))
    host.do(NeverStarted(5, "a", 1, "no such image"))
    [attempt] = earlier(host)
    assert (attempt.started_at, attempt.exited_at, attempt.error) == (None, 5, "no such image")
    assert (attempt.cause, attempt.failure_reason) == (
        Requeue.RETRY,
        FailureReason.PREPARE_FAILED,
    )


def test_preempted_interrupted_and_discarded_attempts_did_not_fail() -> None:
    host = Host(gpus=1, preemption=True)
    host.submit(task("low", preemptible=True))
    host.submit(task("high", priority=6))
    host.end("low", signal=15, stopped=True)
    [attempt] = host.task("low").earlier_attempts
    assert (attempt.cause, attempt.failure_reason, attempt.exit_code) == (
        Requeue.PREEMPTED,
        None,
        143,
    )
    assert attempt.error == "preempted by a more urgent task"

    host = Host()
    host.submit(retries(0))
    host.do(InterruptRequested(host.now, "a", "ada"))
    host.end("a", signal=9)
    [attempt] = earlier(host)
    assert (attempt.cause, attempt.error) == (Requeue.INTERRUPTED, "interrupted by ada")

    host = Host(gpus=1, prestage=True)
    host.submit(task("runs"))
    host.do(Submitted(host.now, [task("ahead")]))
    assert host.task("ahead").prestaged
    host.do(NeverStarted(host.now, "ahead", 1, None))
    [attempt] = host.task("ahead").earlier_attempts
    assert (attempt.cause, attempt.failure_reason) == (Requeue.DISCARDED, None)
    assert (attempt.allocated_at, attempt.worker_id, attempt.error) == (None, None, "")


def test_only_the_newest_are_kept_and_their_texts_are_cut() -> None:
    host = Host()
    host.submit(retries(MOST_KEPT + 5))
    for _ in range(MOST_KEPT + 3):
        fail(host, start_error=None, code=1)
    numbers = [each.number for each in earlier(host)]
    assert numbers == list(range(4, MOST_KEPT + 4))
    host.do(CancelRequested(host.now, "a", User("ada")))

    host = Host()
    host.do(Submitted(host.now, [retries(1)]))
    host.do(NeverStarted(5, "a", 1, "ö" * 10_000))
    [attempt] = earlier(host)
    assert len(attempt.error) == MOST_TEXT
    assert attempt.error.endswith("ö…")


def test_attempts_count_as_memory_of_their_user(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    host.submit(retries(9))
    plain = host.state.live_bytes
    assert plain == spec_footprint(host.task("a").spec)
    fail(host)
    grown = host.state.live_bytes
    assert grown == host.state.user_bytes["alice"] == task_footprint(host.task("a"))
    assert grown > plain + ATTEMPT_BYTES
    # Nobody is asked before an attempt ends: a full memory takes no further ones.
    monkeypatch.setattr(submit_quotas, "MAX_LIVE_BYTES", grown - 1)
    fail(host)
    fail(host)
    assert [each.number for each in earlier(host)] == [3]
    assert host.state.live_bytes == grown
    host.restart()
    assert host.state.live_bytes == grown
    host.do(CancelRequested(host.now, "a", User("ada")))
    host.end("a", signal=15)
    assert host.state.live_bytes == 0
    assert host.state.user_bytes == {}


def test_footprint_of_an_attempt_covers_its_values() -> None:
    """Of the largest values, beside the error."""
    values: dict[str, Any] = dict.fromkeys(("begun_at", "allocated_at", "started_at"), 2**41)
    attempt = Attempt(20, Requeue.RETRY, 2**41, worker_id="n" * 63, exit_code=300, **values)
    own = [getattr(attempt, name) for name in Attempt.__struct_fields__]
    sizes = [getsizeof(each) for each in own if isinstance(each, int) or each == "n" * 63]
    assert getsizeof(attempt) + sum(sizes) + 8 <= ATTEMPT_BYTES
