"""When a waiting task will start, and how well that is known."""

import random
from functools import partial

import pytest

from fetchml.core.events import GpusSeen, LauncherChanged, Recovered, Started, Submitted
from fetchml.core.gpus.allocator import Gpu, Obstacle, ObstacleKind
from fetchml.core.model import Resources, Task
from fetchml.core.reactor import step
from fetchml.core.scheduling.estimate import Calibration, Estimate, estimate, estimate_one
from fetchml.core.state import Limits, State
from testbed.run_times import History
from testbed.simulated_box import SimulatedBox
from tests.support import tasks

MINUTE = 60_000
task = partial(tasks.task, gpu=1, created_at=0)


def box(gpus: int, *tasks: Task) -> State:
    """All that fits runs, since 0."""
    state = State(Limits(Resources(64, 256), 64, 10 * MINUTE, "box"))
    step(state, Recovered(0))
    step(state, GpusSeen(0, [Gpu(f"G{position}", position=position) for position in range(gpus)]))
    step(state, LauncherChanged(0, available=True))
    step(state, Submitted(0, list(tasks)))
    for task_id in list(state.held):
        step(state, Started(0, task_id, 1, 0))
    return state


def always(minutes: int) -> History:
    return History({}, {}, [minutes * MINUTE])


def test_constant_run_times_give_exact_estimates() -> None:
    state = box(1, task("a"), task("b"), task("c"))
    estimates = estimate(state, 4 * MINUTE, always(10))
    assert estimates == {
        "b": Estimate(10 * MINUTE, 10 * MINUTE),
        "c": Estimate(20 * MINUTE, 20 * MINUTE),
    }


def test_estimate_of_one_task_equals_that_of_the_whole_queue() -> None:
    state = box(2, *(task(f"t{number}") for number in range(30)))
    whole = estimate(state, 0, always(10))
    assert estimate_one(state, 0, always(10), "t17") == whole["t17"]
    assert estimate_one(state, 0, always(10), "t1") is None, "it runs"


def test_history_prefers_the_most_similar_tasks() -> None:
    history = History({("alice", "named"): [1]}, {Resources(gpu=2): [2]}, of_all=[3])
    assert history(task("a", job_name="named", gpu=2)) == [1]
    assert history(task("a", gpu=2)) == [2]
    assert history(task("a")) == [3]


def test_long_running_task_is_expected_to_run_on() -> None:
    """Half of the like tasks take a minute, half an hour: after two minutes it is one of those."""
    state = box(1, task("a"), task("b"))
    history = History({}, {}, [MINUTE, 60 * MINUTE])
    found = estimate_one(state, 2 * MINUTE, history, "b")
    assert found == Estimate(60 * MINUTE, 60 * MINUTE)


def test_time_limit_bounds_the_remaining_time() -> None:
    state = box(1, task("a", timeout_seconds=300), task("b"))
    assert estimate_one(state, 0, always(60), "b") == Estimate(5 * MINUTE, 5 * MINUTE)


def test_task_that_cannot_start_has_no_estimate() -> None:
    state = box(2, task("a", gpu=2), task("many", gpu=2), task("one"))
    step(
        state,
        GpusSeen(
            0, [Gpu("G0"), Gpu("G1", position=1, blocked=Obstacle(ObstacleKind.SICK, "XID 79"))]
        ),
    )
    assert estimate(state, 0, always(1)).keys() == {"one"}


def test_estimates_are_ordered_and_in_the_future() -> None:
    rng = random.Random(1)
    tasks = [task(f"t{number:04}", gpu=rng.choice([0, 1, 1, 2, 8]), cpu=4) for number in range(500)]
    history = History({}, {}, sorted(int(rng.lognormvariate(12, 2)) for _ in range(10)))
    for one in estimate(box(8, *tasks), 1000, history).values():
        assert 1000 <= one.p50 <= one.p90


def test_calibration_counts_how_often_estimates_held() -> None:
    counts = Calibration()
    assert counts.held is None
    for started_at in (5, 15, 15, 25):
        counts = counts.plus(Estimate(10, 20), started_at)
    assert counts.held == (0.25, 0.75)


@pytest.mark.slow
def test_estimates_hold_in_a_simulation() -> None:
    """Each task is estimated when it is submitted; the durations are not known beforehand, only
    how they are distributed."""
    rng = random.Random(7)
    quantiles = sorted(int(rng.lognormvariate(13, 1.2)) for _ in range(2000))
    history = History({}, {}, quantiles[100::200])
    estimates: dict[str, Estimate] = {}

    def look(state: State) -> None:
        for waiting in list(state.tasks.values()):
            if waiting.id not in estimates and waiting.id in state.queue:
                found = estimate_one(state, waiting.created_at, history, waiting.id)
                assert found is not None
                estimates[waiting.id] = found

    limits = Limits(Resources(64, 256), 64, 10 * MINUTE, "box")
    simulated = SimulatedBox(limits, 8, lambda _: int(rng.lognormvariate(13, 1.2)), look=look)
    gpus = [1, 1, 1, 1, 1, 2, 4]
    submitted = [
        task(f"t{n:04}", created_at=n * 3 * MINUTE // 2, gpu=rng.choice(gpus)) for n in range(600)
    ]
    simulated.run(submitted)
    counts = Calibration()
    for task_id, found in estimates.items():
        counts = counts.plus(found, simulated.started[task_id])
    assert counts.tasks > 200
    assert counts.held is not None
    by_p50, by_p90 = counts.held
    assert 0.3 < by_p50 < 0.7, counts
    assert by_p90 > 0.75, counts
