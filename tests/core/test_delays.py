"""Retries that wait for their time, also when the wall clock is set back meanwhile."""

from fetchml.core.retry import MOST_DELAY_MS
from fetchml.core.scheduling.ready_queue import ReadyQueue
from tests.support.tasks import task

NOW = 1_900_000_000_000


def queue_of(*delays: int, now: int = NOW) -> ReadyQueue:
    """Tasks `0`, `1`, … that are due after these delays, in milliseconds."""
    queue = ReadyQueue()
    queue.due(now)
    for number, delay in enumerate(delays):
        queue.add(task(str(number), created_at=now - 1, not_before=now + delay), now)
    return queue


def ready(queue: ReadyQueue) -> list[str]:
    return sorted(turn.task_id for _, turn in queue.entries())


def test_delayed_task_becomes_ready_at_its_time() -> None:
    queue = queue_of(1_000, 2_000)
    queue.due(NOW + 999)
    assert (ready(queue), queue.next_due()) == ([], NOW + 1_000)
    queue.due(NOW + 1_000)
    assert (ready(queue), queue.next_due()) == (["0"], NOW + 2_000)


def test_clock_set_back_keeps_the_rest_of_each_delay() -> None:
    queue = queue_of(1_000, 2_000)
    queue.due(NOW + 400)
    hour_ago = NOW + 400 - 3_600_000
    queue.due(hour_ago)
    assert queue.next_due() == hour_ago + 600
    queue.due(hour_ago + 600)
    assert ready(queue) == ["0"]
    queue.due(hour_ago + 1_600)
    assert ready(queue) == ["0", "1"]


def test_timer_ends_a_delay_although_the_clock_was_set_back() -> None:
    queue = queue_of(1_000, 2_000)
    queue.due(NOW - 3_600_000, elapsed=NOW + 1_000)
    assert ready(queue) == ["0"], "and nothing that is due later"
    assert queue.next_due() is not None


def test_delays_after_a_restart_are_cut_to_the_longest() -> None:
    """The clock was a year ahead when the retry was decided, and is right when it is read."""
    queue = ReadyQueue()
    queue.add(task("0", created_at=NOW, not_before=NOW + 365 * 86_400_000), 0)
    queue.due(NOW)
    assert queue.next_due() == NOW + MOST_DELAY_MS


def test_copy_of_the_queue_is_independent() -> None:
    queue = queue_of(1_000)
    other = queue.copy()
    other.due(NOW - 5_000)
    assert (queue.next_due(), other.next_due()) == (NOW + 1_000, NOW - 4_000)
