"""Estimated starts on a host with bookings, compared with what the core does."""

import random
from functools import partial

import pytest

from fetchml.core.bookings.closed_gpus import MARGIN_MS, Booking
from fetchml.core.events import BookingsChanged, TimePassed
from fetchml.core.model import Resources, Task
from fetchml.core.scheduling.estimate import Estimate, estimate, estimate_one
from fetchml.core.state import Limits, State
from testbed.run_times import History
from testbed.simulated_box import SimulatedBox
from tests.support import tasks

MINUTE = 60_000
HOUR = 60 * MINUTE
LIMITS = Limits(Resources(64, 256), 64, 10 * MINUTE, "box")
task = partial(tasks.task, gpu=1, created_at=0)


def booking(name: str, user: str, begin: int, end: int, *gpus: str) -> Booking:
    return Booking(name, user, gpus or ("GPU-0",), begin, end, 0, "root")


def always(minutes: int) -> History:
    return History({}, {}, [minutes * MINUTE])


class Run:
    """The core runs the tasks; `estimates` has what was estimated when all of them were queued."""

    def __init__(
        self, gpus: int, bookings: list[Booking], submitted: list[Task], history: History
    ) -> None:
        self.estimates: dict[str, Estimate] = {}
        self._submitted, self._history = len(submitted), history
        self.box = SimulatedBox(LIMITS, gpus, lambda one: history(one)[0], look=self._look)
        self.box.at(0, lambda now: BookingsChanged(now, bookings))
        for each in bookings:
            self.box.at(each.ends_at, TimePassed)
        self.box.run(submitted)

    def _look(self, state: State) -> None:
        if not self.estimates and len(state.tasks) == self._submitted:
            self.estimates = estimate(state, 0, self._history)

    @property
    def starts(self) -> dict[str, int]:
        return {task_id: at for task_id, at in self.box.started.items() if task_id in self.p50s}

    @property
    def p50s(self) -> dict[str, int]:
        return {task_id: found.p50 for task_id, found in self.estimates.items()}


def test_task_of_another_user_waits_for_the_end_of_a_booking() -> None:
    run = Run(1, [booking("b", "ada", 0, HOUR)], [task("a", user="bob")], always(10))
    assert run.p50s == run.starts == {"a": HOUR}


def test_booking_of_another_gpu_does_not_matter() -> None:
    booked = [booking("b", "ada", 0, 9 * HOUR, "GPU-1")]
    run = Run(2, booked, [task(name, user="bob") for name in "abc"], always(10))
    assert run.p50s == run.starts == {"b": 10 * MINUTE, "c": 20 * MINUTE}


@pytest.mark.parametrize("limit", [0, 1800])
def test_time_limit_decides_whether_a_task_starts_before_a_booking(limit: int) -> None:
    """The second one would reach into the booking, whatever its time limit is."""
    begin = 1800_000 + MARGIN_MS + 10 * MINUTE
    submitted = [task(name, user="bob", timeout_seconds=limit) for name in "abcd"]
    run = Run(1, [booking("b", "ada", begin, 2 * HOUR)], submitted, always(10))
    ready = {"b": 10 * MINUTE, "c": 2 * HOUR, "d": 2 * HOUR + 10 * MINUTE}
    later = {name: 2 * HOUR + n * 10 * MINUTE for n, name in enumerate("abcd")}
    assert run.p50s == run.starts == (ready if limit else later)


def test_user_of_the_booking_starts_before_those_who_are_more_urgent() -> None:
    submitted = [task("a", user="bob", priority=9), task("b", user="ada"), task("c", user="ada")]
    run = Run(1, [booking("b", "ada", 0, HOUR)], submitted, always(20))
    assert run.starts == {"a": HOUR, "c": 20 * MINUTE}
    assert run.p50s == run.starts


def test_estimate_of_a_new_task_takes_bookings_in() -> None:
    box = SimulatedBox(LIMITS, 1, lambda _: MINUTE)
    box.at(0, lambda now: BookingsChanged(now, [booking("b", "ada", 0, HOUR)]))
    box.run([], until=0)
    state = box.state.copy()
    state.enter(new := task("new", user="bob"), 0)
    state.wait(new, 0)
    assert estimate_one(state, 0, always(10), "new") == Estimate(HOUR, HOUR)


def test_estimates_equal_the_starts_on_one_gpu() -> None:
    compared = 0
    for seed in range(60):
        dice = random.Random(seed)
        bookings = [
            booking(f"b{number}", dice.choice(["ada", "bob"]), begin, begin + HOUR)
            for number in range(dice.randrange(4))
            for begin in [number * 3 * HOUR + dice.randrange(2) * HOUR]
        ]
        submitted = [
            task(
                f"t{number}",
                user=dice.choice(["ada", "bob", "eve"]),
                timeout_seconds=dice.choice([0, 600, 4 * 3600]),
                priority=dice.choice([4, 5, 5, 6]),
            )
            for number in range(dice.randrange(1, 9))
        ]
        run = Run(1, bookings, submitted, always(10))
        compared += len(run.starts)
        # The core's fair shares change the order while tasks run; the estimate keeps it.
        assert sorted(run.p50s.values()) == sorted(run.starts.values()), seed
    assert compared > 150


def test_long_queue_with_bookings_is_estimated_in_time() -> None:
    """Whoever submits has no way to make the simulation slow: many users, limits and sizes."""
    dice = random.Random(2)
    box = SimulatedBox(LIMITS, 8, lambda _: MINUTE)
    bookings = [
        booking(
            f"b{number}", f"u{number % 20}", number * HOUR, (number + 1) * HOUR, f"GPU-{number % 8}"
        )
        for number in range(200)
    ]
    box.at(0, lambda now: BookingsChanged(now, bookings))
    submitted = [
        task(f"t{number:05}", user=f"u{number % 40}", gpu=dice.randrange(9), timeout_seconds=number)
        for number in range(3000)
    ]
    box.run(submitted, until=0)
    assert len(estimate(box.state, 0, always(1))) > 2000
