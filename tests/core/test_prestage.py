"""Which tasks are prestaged, for which GPUs, and when they are discarded."""

from fetchml.core.events import (
    CancelRequested,
    DiscardAttempt,
    GpuDrained,
    GpusSeen,
    LauncherChanged,
    NeverStarted,
    Prestaged,
    TimePassed,
)
from fetchml.core.model import Status, User
from fetchml.core.scheduling.waiting import MAX_DISCARDS, Discarding
from fetchml.engine.explain import explain
from tests.core.host import RESERVE_MS, Host, task


def test_tasks_are_prestaged_for_held_gpus() -> None:
    host = Host(gpus=2, prestage=True)
    host.submit(*(task(f"t{number}") for number in range(5)))
    assert host.prestaged == {"t2": ("G0",), "t3": ("G1",)}
    assert host.reason("t2").endswith("It is being prepared meanwhile.")
    shown = explain(host.state, host.task("t2"), host.now).status
    assert (shown, host.task("t2").shown_status) == (Status.QUEUED, Status.QUEUED)
    assert host.task("t2").worker_id is None
    host.do(Prestaged(1, "t2", 1))
    assert host.reason("t2").endswith("It is ready to start.")
    assert host.end("t0") == ["t2"]
    assert (host.task("t2").shown_status, host.task("t2").worker_id) == (Status.PREPARING, "box")
    assert host.prestaged == {"t3": ("G1",), "t4": ("G0",)}


def test_prestaged_retry_still_shows_why_its_last_attempt_failed() -> None:
    host = Host(gpus=1, prestage=True)
    host.submit(task("runs"))
    host.submit(task("again", max_retries=1))
    host.do(NeverStarted(host.now, "again", 1, "no such image"))
    assert host.task("again").error == "attempt 1: no such image"
    host.now += 60_000
    host.do(TimePassed(host.now, host.now))
    assert host.prestaged == {"again": ("G0",)}
    assert host.task("again").error == "attempt 1: no such image"
    assert host.end("runs") == ["again"]
    assert host.task("again").error is None


def test_task_prestaged_on_the_freed_gpu_passes_equals_for_a_time() -> None:
    host = Host(gpus=2, prestage=True)
    host.submit(*(task(f"t{number}") for number in range(5)))
    assert host.end("t1") == ["t3"], "t2 is ready for the other"
    host.now += 2 * RESERVE_MS
    assert host.end("t3") == []
    assert host.state.wait_state("t2") == Discarding(protected=True)
    assert host.do(NeverStarted(host.now, "t2", 1)) == ["t2"]
    assert (host.task("t2").retry_count, host.task("t2").attempt) == (0, 2)


def test_more_urgent_task_displaces_a_prestaged_one() -> None:
    host = Host(gpus=1, prestage=True)
    host.submit(task("runs"), task("next"))
    assert host.prestaged == {"next": ("G0",)}
    host.submit(task("urgent", priority=6))
    assert host.of(DiscardAttempt) == ["next"]
    host.do(NeverStarted(host.now, "next", 1))
    assert host.task("next").status is Status.QUEUED
    assert host.prestaged == {"urgent": ("G0",)}
    assert host.end("runs") == ["urgent"]


def test_nothing_is_displaced_before_the_gpus_are_seen() -> None:
    host = Host(gpus=1, prestage=True)
    host.submit(task("runs"), task("next"))
    host.restart()
    host.do(LauncherChanged(host.now, available=True))
    host.submit(task("urgent", priority=6))
    assert host.prestaged == {"next": ("G0",)}
    host.do(GpusSeen(host.now, host.gpus))
    assert host.of(DiscardAttempt) == ["next"]


def displaced(host: Host, name: str, times: int) -> None:
    """More urgent tasks take its place, one after the other, and are cancelled again."""
    for number in range(times):
        urgent = f"urgent {name} {number}"
        host.submit(task(urgent, priority=6 + number % 2))
        assert host.of(DiscardAttempt) == [name]
        host.do(NeverStarted(host.now, name, host.task(name).attempt))
        host.do(CancelRequested(host.now, urgent, User("alice")))
        host.do(NeverStarted(host.now, urgent, 1))


def test_prestages_that_are_discarded_are_bounded() -> None:
    host = Host(gpus=1, prestage=True)
    host.submit(task("runs"), task("next"), task("behind"))
    displaced(host, "next", MAX_DISCARDS)
    assert host.prestaged == {"behind": ("G0",)}, "the next of its sub-queue is prestaged instead"
    assert (host.task("next").attempt, host.task("next").discarded) == (2, 2)
    host.submit(task("urgent", priority=8))
    host.do(NeverStarted(host.now, "behind", 1))
    host.do(CancelRequested(host.now, "urgent", User("alice")))
    host.do(NeverStarted(host.now, "urgent", 1))
    assert host.prestaged == {"behind": ("G0",)}
    assert host.end("runs") == ["next"], "it is not passed by what is ready"
    assert host.task("next").attempt == 3


def test_sub_queue_of_tasks_discarded_too_often() -> None:
    host = Host(gpus=1, prestage=True)
    host.submit(task("runs"), task("next"))
    displaced(host, "next", MAX_DISCARDS)
    assert host.prestaged == {}
    assert host.end("runs") == ["next"]


def test_prestage_for_a_drained_gpu_is_discarded() -> None:
    host = Host(gpus=1, prestage=True)
    host.submit(task("runs"), task("next"))
    host.do(GpuDrained(host.now, "G0", "root"))
    assert host.of(DiscardAttempt) == ["next"]


def test_a_few_tasks_without_gpus_are_prestaged() -> None:
    host = Host(gpus=0, max_running=1, prestage=True, max_prestaged=2)
    host.submit(*(task(f"t{number}", 0) for number in range(5)))
    assert host.prestaged == {"t1": (), "t2": ()}
    assert host.end("t0") == ["t1"]


def test_nothing_is_prestaged_by_default() -> None:
    host = Host(gpus=1)
    host.submit(task("runs"), task("next"))
    assert host.prestaged == {}
