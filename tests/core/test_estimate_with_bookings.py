"""Estimated starts on a host with bookings, compared with what the core does."""

from functools import partial

from fetchml.core.bookings.booking import Booking
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


def test_tasks_of_the_user_of_a_booking_have_no_estimate() -> None:
    submitted = [task("a", user="bob"), task("b", user="ada"), task("c", user="ada", gpu=0)]
    run = Run(1, [booking("b", "ada", HOUR, 2 * HOUR)], submitted, always(10))
    assert run.p50s == {"a": 2 * HOUR}, "c starts at once"


def test_slots_of_a_booked_gpu_that_tasks_hold_are_not_counted_twice() -> None:
    box = SimulatedBox(LIMITS, 2, lambda _: HOUR)
    box.at(0, lambda now: BookingsChanged(now, [booking("b", "ada", 0, 2 * HOUR)]))
    box.run([task("a", user="ada"), task("b", user="bob"), task("c", user="bob")], until=0)
    assert estimate(box.state, 0, always(10)) == {"c": Estimate(10 * MINUTE, 10 * MINUTE)}


def test_estimate_of_a_new_task_takes_bookings_in() -> None:
    box = SimulatedBox(LIMITS, 1, lambda _: MINUTE)
    box.at(0, lambda now: BookingsChanged(now, [booking("b", "ada", 0, HOUR)]))
    box.run([], until=0)
    state = box.state.copy()
    state.enter(new := task("new", user="bob"), 0)
    state.wait(new, 0)
    assert estimate_one(state, 0, always(10), "new") == Estimate(HOUR, HOUR)
