"""Packing by learned peaks of GPU memory: the rules."""

from typing import Any

import pytest
from msgspec.structs import replace

from fetchml.core import packing
from fetchml.core.events import (
    CancelRequested,
    Collected,
    Ended,
    GpuChecked,
    GpuMemoryExhausted,
    GpuMemoryUsed,
    GpusSeen,
    Started,
    StopAttempt,
    TimePassed,
)
from fetchml.core.gpus.allocator import Gpu, GpuMemory
from fetchml.core.gpus.events import ENOUGH_READINGS, MEMORY_GAP_MS
from fetchml.core.model import AttemptEnd, User
from fetchml.core.packing import LearnedPeaks, WaitingJobs
from fetchml.core.scheduling.estimate import estimate
from testbed.run_times import History
from tests.core.host import MINUTE, RESERVE_MS, Host
from tests.core.packing_host import GIB, READING_MS, host, learned, of, read


def run(box: Host, job: str, mb: int, *, readings: int = ENOUGH_READINGS, **end: Any) -> list[str]:
    """One attempt of the job from start to end; gives what starts at its end."""
    name = f"{job}-{box.now}"
    assert box.submit(of(name, job)) == [name]
    for _ in range(readings):
        read(box, (name, mb))
    return box.end(name, **end)


def test_unknown_job_gets_a_gpu_of_its_own() -> None:
    box = host(2)
    assert box.submit(of("a", "x"), of("b", "x"), of("c", "x")) == ["a", "b"]
    assert box.task("a").gpu_uuids != box.task("b").gpu_uuids


def test_known_jobs_share_a_gpu_while_their_peaks_fit() -> None:
    """72 of 80 GiB may be used; there is a fourth slot."""
    box = host(known={"x": 30, "y": 12})
    assert box.submit(of("a", "x"), of("b", "x"), of("c", "y"), of("d", "y")) == ["a", "b", "c"]
    assert box.state.packing is not None
    assert box.state.packing.starts == 2
    assert box.end("c") == ["d"]


@pytest.mark.parametrize(("first", "second"), [("known", "new"), ("new", "known")])
def test_known_and_unknown_do_not_share(first: str, second: str) -> None:
    box = host(known={"known": 1})
    assert box.submit(of("a", first), of("b", second)) == ["a"]
    assert box.end("a") == ["b"]


def test_other_users_jobs_of_that_name_are_unknown() -> None:
    """Nobody teaches anything about another user's tasks."""
    box = host(known={"x": 1})
    assert box.submit(of("a", "x"), of("b", "x", user="bob")) == ["a"]


def test_service_never_shares() -> None:
    box = host(known={"x": 1})
    first, service = of("a", "x"), replace(of("s", "x"), service=True)
    assert box.submit(first, service, of("b", "x")) == ["a", "b"]
    assert box.reason("s") == (
        "It waits for 1 GPU without other tasks (0 of 1 free): services share none ([gpu] packing)."
    )


def test_completed_attempt_teaches_its_peak() -> None:
    box = host()
    run(box, "x", 30 * GIB)
    assert learned(box).get(("alice", "x")) == 30 * GIB
    assert box.submit(of("a", "x"), of("b", "x"), of("c", "x")) == ["a", "b"]


def test_waiting_tasks_are_packed_once_their_job_is_known() -> None:
    """They were queued as unknown. Those that go on waiting stay where they are: there may be
    hundreds of thousands."""
    box = host()
    box.submit(of("first", "x"))
    box.submit(*(of(name, "x") for name in "abc"), of("other", "y"))
    before = box.state.queue.queue_of("c")
    for _ in range(ENOUGH_READINGS):
        read(box, ("first", 30 * GIB))
    assert box.end("first") == ["a", "b"]
    assert box.state.queue.queue_of("c") is before


@pytest.mark.parametrize(
    ("readings", "end"),
    [
        (ENOUGH_READINGS - 1, {"code": 0}),
        (ENOUGH_READINGS, {"code": 1}),
        (ENOUGH_READINGS, {"signal": 9}),
        (ENOUGH_READINGS, {"lost": "gone"}),
        (ENOUGH_READINGS, {"signal": 9, "timed_out": True}),
        (ENOUGH_READINGS, {"code": 0, "stopped": True}),
    ],
)
def test_attempt_that_was_not_seen_as_a_whole_teaches_nothing(
    readings: int, end: dict[str, Any]
) -> None:
    box = host()
    run(box, "x", GIB, readings=readings, **end)
    assert learned(box).get(("alice", "x")) is None


@pytest.mark.parametrize("gap", ["at first", "between", "at last"])
def test_gap_between_readings_teaches_nothing(gap: str) -> None:
    box = host()
    box.submit(of("a", "x"))
    for number in range(ENOUGH_READINGS):
        long = (gap == "at first" and not number) or (gap == "between" and number == 2)
        read(box, ("a", GIB), after=MEMORY_GAP_MS + 1 if long else READING_MS)
    box.now += MEMORY_GAP_MS + 1 if gap == "at last" else 0
    box.end("a")
    assert learned(box).get(("alice", "x")) is None


def test_restart_is_a_gap_and_keeps_what_was_learned() -> None:
    box = host(known={"y": 30})
    box.submit(of("a", "x"))
    for _ in range(ENOUGH_READINGS):
        read(box, ("a", GIB))
    box.restart()
    box.now += MEMORY_GAP_MS
    for _ in range(ENOUGH_READINGS):
        read(box, ("a", GIB))
    box.do(GpusSeen(box.now, box.gpus))
    box.end("a")
    assert learned(box).dump() == [(("alice", "y"), (30 * GIB,))]


def test_peak_counts_at_once_when_it_is_exceeded() -> None:
    """Whatever becomes of the attempt."""
    box = host(known={"x": 20})
    box.submit(of("a", "x"), of("b", "x"))
    read(box, ("a", 50 * GIB), ("b", 5 * GIB))
    assert box.submit(of("c", "x")) == []
    box.end("a", code=1)
    assert learned(box).get(("alice", "x")) == 50 * GIB


def test_job_that_needs_less_is_believed_after_some_runs() -> None:
    box = host(known={"x": 60})
    for _ in range(packing.KEPT - 1):
        run(box, "x", GIB)
        assert learned(box).get(("alice", "x")) == 60 * GIB
    run(box, "x", GIB)
    assert learned(box).get(("alice", "x")) == GIB


def test_task_with_several_gpus_counts_by_its_largest_peak() -> None:
    box = host(2)
    box.submit(of("a", "x", gpu=2))
    for _ in range(ENOUGH_READINGS):
        box.now += READING_MS
        use = [GpuMemory("G0", {"a": GIB}), GpuMemory("G1", {"a": 40 * GIB})]
        box.do(GpuMemoryUsed(box.now, use))
    box.do(GpuMemoryUsed(box.now, [GpuMemory("G0", {"a": 70 * GIB})]))
    box.end("a")
    assert learned(box).get(("alice", "x")) == 40 * GIB, "one of its GPUs was not read"


# Out of memory


def test_attempt_that_ran_out_of_memory_beside_others_is_tried_again() -> None:
    box = host(known={"x": 20, "y": 20})
    box.submit(of("a", "x"), of("b", "y"))
    assert fail_for_memory(box, "a") == ("queued", 1, 0)
    assert learned(box).get(("alice", "x")) == 40 * GIB, "and a quarter of the GPU"
    assert learned(box).get(("alice", "y")) == 20 * GIB
    assert "ran out of GPU memory beside other tasks" in str(box.task("a").error)
    assert box.state.packing is not None
    assert box.state.packing.exhausted == 1


def test_task_that_always_reports_it_gets_a_gpu_of_its_own() -> None:
    """And fails there as any other: it can't have retries for nothing."""
    box = host(known={"x": 1, "y": 1})
    box.submit(of("y", "y"), of("a", "x"))
    tries = 0
    while "a" in box.state.held:
        tries += 1
        fail_for_memory(box, "a")
        box.now += RESERVE_MS
        box.do(TimePassed(box.now, box.now))
    assert tries == 4
    assert box.end("y") == ["a"]
    box.do(Started(box.now, "a", box.task("a").attempt, box.now))
    assert fail_for_memory(box, "a") is None


def fail_for_memory(box: Host, name: str) -> tuple[str, int, int] | None:
    """The task's status and retries; `None` if it has failed."""
    one = box.task(name)
    end = AttemptEnd(at=box.now, started_at=box.now, code=1)
    box.do(Ended(box.now, name, one.attempt, end))
    for uuid in one.gpu_uuids:
        box.do(GpuChecked(box.now, uuid))
    box.do(GpuMemoryExhausted(box.now, name, one.attempt))
    box.do(Collected(box.now, name, one.attempt))
    if name not in box.state.tasks:
        return None
    now = box.task(name)
    return str(now.status), now.infra_retries, now.retry_count


# Bounds


def test_known_jobs_are_bounded_for_each_user_and_for_all() -> None:
    found = LearnedPeaks()
    found.learn(("bob", "x"), 1)
    for number in range(packing.MOST_OF_USER + 5):
        found.learn(("alice", f"x{number}"), 1)
    assert len(found) == packing.MOST_OF_USER + 1
    assert found.get(("alice", "x4")) is None
    assert found.get(("alice", "x5")) == found.get(("bob", "x")) == 1
    for user in range(20):
        for number in range(packing.MOST_OF_USER):
            found.learn((f"user{user}", f"x{number}"), 1)
    assert len(found) == packing.MOST
    assert found.get(("bob", "x")) == 1, "the users with the most lose some"


def test_jobs_that_wait_are_bounded_for_each_user() -> None:
    """Each has a sub-queue, and a decision looks at all of their heads."""
    box = host(known={"known": 1})
    names = [f"x{number}" for number in range(packing.MOST_OF_USER + 5)]
    box.submit(of("first", "y"))
    box.submit(*(of(name, name) for name in names), of("k", "known"))
    box.submit(of("b", "x0", user="bob"))

    def job(task_id: str) -> object:
        queue = box.state.queue.queue_of(task_id)
        assert queue is not None
        return queue.shape.job

    found = [job(name) for name in names]
    assert found == [("alice", name) for name in names[: packing.MOST_OF_USER]] + [None] * 5
    assert job("k") == ("alice", "known")
    assert job("b") == ("bob", "x0")
    for name in names[:2]:
        box.do(CancelRequested(box.now, name, User("alice")))
    box.submit(of("again", "again"), of("more", "more"))
    assert (job("again"), job("more")) == (("alice", "again"), None), "the known one counts too"


def test_waiting_jobs_are_bounded_for_all_users() -> None:
    found = WaitingJobs()
    for number in range(packing.MOST):
        job = f"user{number}", "x"
        assert found.takes(job)
        found.add(job)
        found.add(job)
    assert found.takes(("user0", "x"))
    assert not found.copy().takes(("other", "x"))
    found.remove(("user0", "x"))
    assert not found.takes(("other", "x")), "it has another shape"
    found.remove(("user0", "x"))
    assert found.takes(("other", "x"))


def test_forgotten_job_is_unknown_again() -> None:
    box = host(known={"x": 1})
    box.submit(of("a", "x"))
    box.submit(of("blocked", "y"), of("b", "x", gpu=1, cpu=9))
    for number in range(packing.MOST_OF_USER):
        learned(box).learn(("alice", f"x{number}"), 1)
    assert box.submit(of("c", "x")) == []


# Waiting


def test_blocked_task_gets_a_gpu_after_its_time() -> None:
    """Packed tasks that come all the time would keep every GPU in use for ever."""
    box = host(2, slots=2, known={"x": 10})
    running = box.submit(*(of(f"x{number}", "x") for number in range(3)))
    assert len(running) == 3
    assert box.submit(of("alone", "new")) == []
    for number in range(3, 30):
        box.now += RESERVE_MS // 4
        running += box.submit(of(f"x{number}", "x"))
        running += box.end(running.pop(0))
        if "alone" in running:
            return
    pytest.fail("it starved")


def test_explanation_names_the_memory() -> None:
    box = host(known={"x": 50})
    box.submit(of("a", "x"))
    box.submit(of("b", "x"), of("c", "new"))
    assert box.reason("b") == (
        "It waits for GPU memory: its job needed up to 50.0 GiB on a GPU so far, and 0 of 1 GPUs "
        "have as much left beside the tasks on them ([gpu] packing)."
    )
    assert box.reason("c") == (
        "It waits for 1 GPU without other tasks (0 of 1 free): how much GPU memory its job needs "
        "is not known before one of its tasks has completed ([gpu] packing)."
    )


def test_preemption_frees_the_whole_gpu_for_an_unknown_job() -> None:
    box = host(known={"x": 10}, preemption=True)
    box.submit(*(of(name, "x", preemptible=True, priority=2) for name in "ab"))
    box.submit(of("urgent", "new", priority=9))
    assert sorted(box.of(StopAttempt)) == ["a", "b"]
    assert box.submit(of("c", "x")) == []
    assert box.end("a", signal=15, stopped=True) == []
    assert box.end("b", signal=15, stopped=True) == ["urgent"]


def test_gpu_without_a_known_size_is_not_shared() -> None:
    box = host(known={"x": 1})
    box.do(GpusSeen(box.now, [Gpu("G0")]))
    assert box.submit(of("a", "x"), of("b", "x")) == ["a"]


def test_estimates_count_with_what_tasks_share() -> None:
    """By the number of slots all of them could start now."""
    history = History({}, {}, [10 * MINUTE])
    box = host(slots=2, known={"x": 30, "y": 60})
    box.submit(of("a", "x"))
    box.submit(of("b", "new"), of("c", "y"))
    found = estimate(box.state, box.now, history)
    after = {name: found[name].p50 - box.now for name in "bc"}
    assert after == {"b": 10 * MINUTE, "c": 20 * MINUTE}
    box.submit(of("d", "x"))
    assert set(box.state.held) == {"a", "d"}
