"""Which task starts next, as small stories: what the host has, what is queued, what starts."""

import sys
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest

from fetchml.core.events import (
    CancelRequested,
    Collected,
    DrainRequested,
    Ended,
    LauncherChanged,
    NeverStarted,
    RunAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.model import AttemptEnd, Resources, Status, Task, User
from fetchml.core.reactor import step
from fetchml.core.retry import LONGEST_DELAY_MS, backoff_ms
from fetchml.core.state import Limits, State
from tests.support import invariants
from tests.support.tasks import task

RESERVE_MS = 600_000


class Box:
    """A core with four cores of CPU, and time."""

    def __init__(self, max_running: int = 10) -> None:
        self.now = 1
        self.state = State(Limits(Resources(cpu=4), max_running, RESERVE_MS, "box"))
        step(self.state, LauncherChanged(self.now, available=True))

    def submit(self, *tasks: Task) -> list[str]:
        return self._started(Submitted(self.now, list(tasks)))

    def finish(self, task_id: str, code: int = 0) -> list[str]:
        attempt = self.state.tasks[task_id].attempt
        end = AttemptEnd(at=self.now, started_at=self.now, code=code)
        started = self._started(Ended(self.now, task_id, attempt, end))
        return started + self._started(Collected(self.now, task_id, attempt))

    def wait(self, ms: int) -> list[str]:
        self.now += ms
        return self._started(TimePassed(self.now))

    def _started(self, event: Submitted | Ended | Collected | TimePassed) -> list[str]:
        effects = step(self.state, event).effects
        invariants.check(self.state)
        return [effect.task.id for effect in effects if isinstance(effect, RunAttempt)]


def test_more_urgent_goes_first_then_older() -> None:
    box = Box(max_running=1)
    assert box.submit(task("first")) == ["first"]
    box.submit(task("late", created_at=3), task("early", created_at=2), task("urgent", priority=9))
    assert box.finish("first") == ["urgent"]
    assert box.finish("urgent") == ["early"]
    assert box.finish("early") == ["late"]


def test_smaller_task_passes_a_blocked_larger_one() -> None:
    box = Box()
    assert box.submit(task("holds", cpu=3)) == ["holds"]
    assert box.submit(task("large", cpu=4), task("small", cpu=1, created_at=2)) == ["small"]


def test_task_that_waited_long_has_a_backfill_reservation() -> None:
    box = Box()
    box.submit(task("holds", cpu=3), task("large", cpu=4))
    box.wait(RESERVE_MS)
    assert box.submit(task("small", cpu=1, created_at=box.now)) == []
    assert box.finish("holds") == ["large"]
    assert box.finish("large") == ["small"]


def test_backfill_reservation_leaves_other_resources_free() -> None:
    box = Box()
    box.submit(task("holds", cpu=3), task("large", cpu=4))
    box.wait(RESERVE_MS)
    assert box.submit(task("no cpu", created_at=box.now)) == ["no cpu"]


def test_empty_request_holds_no_resources() -> None:
    box = Box()
    assert box.submit(task("all", cpu=4), task("no cpu")) == ["all", "no cpu"]


def test_slots_bound_running_tasks() -> None:
    box = Box(max_running=2)
    assert box.submit(task("a"), task("b"), task("c")) == ["a", "b"]
    assert box.finish("a") == ["c"]


def test_failed_attempt_is_retried_after_its_delay() -> None:
    box = Box()
    box.submit(task("flaky", max_retries=1))
    assert box.finish("flaky", code=1) == []
    waiting = box.state.tasks["flaky"]
    assert (waiting.status, waiting.retry_count) == (Status.QUEUED, 1)
    assert waiting.error == "attempt 1: exit code 1"
    assert box.wait(waiting.not_before - box.now - 1) == []
    assert box.wait(1) == ["flaky"]
    box.finish("flaky", code=1)
    assert "flaky" not in box.state.tasks


def test_permanent_failure_is_not_retried() -> None:
    box = Box()
    box.submit(task("imageless", max_retries=5))
    step(box.state, NeverStarted(box.now, "imageless", 1, "no such image", permanent=True))
    assert "imageless" not in box.state.tasks


def test_cancelled_tasks_do_not_stay_in_memory() -> None:
    """The blocked head keeps its line's heap alive; cancelled ones behind it must leave."""
    box = Box()
    box.submit(task("holds", cpu=4), task("head", cpu=2))
    for number in range(1_000):
        box.submit(task(f"t{number}", cpu=2, created_at=2))
        step(box.state, CancelRequested(box.now, f"t{number}", User("alice")))
    assert len(box.state.queue) == 1
    assert box.state.queue.count_before(task("last", cpu=2, created_at=3)) == 1
    kept = [
        queue.heap
        for users in box.state.queue._queues.values()
        for queues in users.values()
        for queue in queues.values()
    ]
    assert sum(map(len, kept)) < 100


def test_nothing_starts_while_draining() -> None:
    box = Box()
    step(box.state, DrainRequested(box.now))
    assert box.submit(task("late")) == []


def test_backoff_is_bounded_and_deterministic() -> None:
    flaky = [task("flaky", retry_count=count) for count in range(40)]
    delays = [backoff_ms(again) for again in flaky]
    assert delays == [backoff_ms(again) for again in flaky]
    assert 1_000 <= delays[0] <= 1_500
    assert all(later > earlier for earlier, later in pairwise(delays[:9]))
    assert max(delays) <= LONGEST_DELAY_MS * 3 // 2


def calls_of_a_submit(queued: int, **rules: Any) -> int:
    """Calls of functions, Python's own too, that it takes behind so many tasks that wait for two
    GPUs, of which one may become free for them."""
    state = State(Limits(Resources(8, 8, 2), 100, RESERVE_MS, "box", **rules))
    step(state, LauncherChanged(1, available=True))
    step(state, Submitted(1, [task("stays", gpu=1), task("yields", gpu=1, preemptible=True)]))
    waiting = [task(f"{n:06}", cpu=1, gpu=2, priority=6) for n in range(queued + 1)]
    step(state, Submitted(1, waiting[:-1]))
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        step(state, Submitted(1, waiting[-1:]))
    finally:
        sys.setprofile(None)
    assert waiting[-1].id in state.queue
    return calls


@pytest.mark.parametrize(
    "rules", [{}, {"prestage": True}, {"prestage": True, "preemption": True, "user_gpus": 4}]
)
def test_submit_cost_does_not_grow_with_the_queue(rules: dict[str, Any]) -> None:
    few, many = (calls_of_a_submit(queued, **rules) for queued in (200, 20_000))
    assert many < 1.5 * few
