"""The scheduler over days of simulated time: no task starves, no user exceeds its share."""

import random
from itertools import count

import pytest

from fetchml.core.model import Resources, Task
from fetchml.core.scheduling.waiting import Discarding
from fetchml.core.state import Limits, State
from testbed.simulated_box import SimulatedBox
from tests.core.oracle import could_start
from tests.support import invariants, tasks

MINUTE = 60_000
HOUR = 60 * MINUTE
LIMITS = Limits(Resources(64, 256), 64, 10 * MINUTE, "box")


def task(name: str, user: str, at: int, *, gpu: int = 1, **spec: int) -> Task:
    return tasks.task(name, user=user, created_at=at, gpu=gpu, **spec)


def used(box: SimulatedBox, user: str) -> float:
    return box.state.shares.used(user, box.now)


def stream(user: str, tasks: int, at: int, gpu: int = 1) -> list[Task]:
    return [task(f"{user}-{at}-{number:04}", user, at + number, gpu=gpu) for number in range(tasks)]


def test_two_users_with_equal_load_get_equal_shares() -> None:
    """Whoever came first: within 10 %."""
    box = SimulatedBox(LIMITS, 8, lambda _: 20 * MINUTE)
    box.run([*stream("alice", 400, 0), *stream("bob", 400, HOUR // 2)], until=10 * HOUR)
    assert used(box, "alice") == pytest.approx(used(box, "bob"), rel=0.1)


def test_user_who_comes_late_catches_up() -> None:
    """One has had the whole box for six hours: the other has all that becomes free, until both
    have had the same, and then each has half."""
    box = SimulatedBox(LIMITS, 8, lambda _: 10 * MINUTE)
    box.run(stream("alice", 1000, 0), until=6 * HOUR)
    box.run(stream("bob", 1000, 6 * HOUR), until=7 * HOUR)
    held = box.state.user_gpus
    assert held == {"bob": 8}
    box.run([], until=13 * HOUR)
    assert used(box, "alice") == pytest.approx(used(box, "bob"), rel=0.1)
    assert len(box.state.user_gpus) == 2


def test_one_user_does_not_fill_an_idle_host() -> None:
    box = SimulatedBox(LIMITS, 8, lambda _: HOUR)
    blocker = task("blocker", "carol", 0, gpu=8)
    box.run([blocker, *stream("alice", 8, 1), *stream("bob", 8, 1)], until=HOUR)
    assert box.state.user_gpus == {"alice": 4, "bob": 4}


@pytest.mark.parametrize("prestage", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_every_task_starts_within_a_bound(seed: int, prestage: bool) -> None:
    """Small tasks come without end; each large one starts soon after it has waited its time: when
    what runs has ended, and those before it have had theirs."""
    rng = random.Random(seed)
    numbers = count()

    def random_task(at: int) -> Task:
        gpu = rng.choice([1, 1, 1, 1, 2, 2, 4, 8])
        cpu = rng.choice([0, 1, 8, 32])
        user = rng.choice(["alice", "bob", "carol"])
        return task(f"t{next(numbers):05}", user, at, gpu=gpu, cpu=cpu)

    longest = 30 * MINUTE
    limits = Limits(Resources(64, 256), 64, 10 * MINUTE, "box", prestage=prestage)
    steps = count()

    def look(state: State) -> None:
        if next(steps) % 7 == 0:
            invariants.check(state)
            assert could_start(state, box.now) is None

    box = SimulatedBox(limits, 8, lambda t: rng.randrange(MINUTE, longest))
    box._look = look
    tasks = [random_task(int(at * 6.5 * MINUTE)) for at in range(150)]
    box.run(tasks)
    assert box.ended.keys() == {t.id for t in tasks}
    waits = {t.id: box.started[t.id] - t.created_at for t in tasks}
    before = {
        t.id: sum(
            o.created_at <= box.started[t.id] and box.started[o.id] >= t.created_at for o in tasks
        )
        for t in tasks
    }
    for t in tasks:
        bound = limits.reserve_after_ms + (before[t.id] + 1) * longest
        assert waits[t.id] <= bound, t


def test_prestaged_tasks_start_where_they_were_prestaged() -> None:
    """None is discarded until, at the end, fewer tasks wait than there are GPUs."""
    limits = Limits(Resources(64, 256), 64, 10 * MINUTE, "box", prestage=True)
    rng = random.Random(3)
    discarded = 0

    def look(state: State) -> None:
        nonlocal discarded
        if len(state.queue) > 8:
            discarded += sum(isinstance(each, Discarding) for each in state.wait_states.values())
        invariants.check(state)

    box = SimulatedBox(limits, 8, lambda _: rng.randrange(MINUTE, 9 * MINUTE), look=look)
    box.run(stream("alice", 120, 0))
    assert len(box.ended) == 120
    assert discarded == 0
