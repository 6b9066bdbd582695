"""Which GPUs a task gets, and what happens to it when they fail."""

from functools import partial

import pytest

from fetchml.core.events import (
    CheckGpus,
    Collected,
    Decision,
    Ended,
    Event,
    GpuChecked,
    GpuDrained,
    GpuFailed,
    GpusSeen,
    LauncherChanged,
    NeverStarted,
    Recovered,
    RunAttempt,
    Started,
    StopAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.gpus.allocator import Gpu, GpuPool, Obstacle, ObstacleKind, Placement, plain_slots
from fetchml.core.model import AttemptEnd, FailureReason, Resources, Status, Task
from fetchml.core.reactor import step
from fetchml.core.retry import MOST_INFRA_RETRIES
from fetchml.core.state import Limits, State
from tests.support import invariants, tasks

OFF_THE_BUS = Obstacle(ObstacleKind.LOST, "it has fallen off the bus")
EIGHT = tuple(Gpu(f"G{position}", position=position) for position in range(8))


def pool(free: str, slots_per_gpu: int = 1) -> tuple[GpuPool, dict[str, int]]:
    """`free`: a digit for each GPU, how many of its slots are free."""
    there = GpuPool(slots_per_gpu)
    there.see(EIGHT[: len(free)])
    for position, left in enumerate(free):
        for number in range(slots_per_gpu - int(left)):
            there.allocate(f"holder {number}", [f"G{position}"])
    return there, there.free()


@pytest.mark.parametrize(
    ("free", "count", "slots", "chosen"),
    [
        ("11111111", 1, 1, "0"),
        ("01101111", 1, 1, "1"),  # the smallest gap that fits
        ("01101111", 2, 1, "12"),
        ("01101111", 3, 1, "456"),
        ("01011011", 3, 1, "134"),  # in no gap: as close together as can be
        ("11111111", 8, 1, "01234567"),
        ("22122222", 1, 2, "2"),  # the fullest first
        ("21122222", 3, 2, "012"),
    ],
)
def test_fill_places_neighbours_together(free: str, count: int, slots: int, chosen: str) -> None:
    there, slots_free = pool(free, slots)
    assert there.choose(slots_free, count, Placement.FILL) == tuple(f"G{c}" for c in chosen)


@pytest.mark.parametrize(
    ("free", "count", "slots", "chosen"),
    [
        ("01111111", 1, 1, "7"),
        ("01111110", 1, 1, "3"),
        ("01111111", 2, 1, "37"),
        ("12222222", 1, 2, "7"),
        ("12111111", 1, 2, "1"),  # the emptiest first
    ],
)
def test_spread_places_tasks_far_apart(free: str, count: int, slots: int, chosen: str) -> None:
    there, slots_free = pool(free, slots)
    assert there.choose(slots_free, count, Placement.SPREAD) == tuple(f"G{c}" for c in chosen)


def test_spread_considers_the_parents_of_mig_devices() -> None:
    there = GpuPool()
    there.see([Gpu(f"M{n}", position=n, parent=f"P{n // 4}") for n in range(8)])
    there.allocate("holder", ["M3"])
    assert there.choose(there.free(), 1, Placement.SPREAD) == ("M7",)
    assert there.choose({"M2": 1, "M4": 1}, 1, Placement.SPREAD) == ("M4",)


def test_too_few_gpus_give_no_choice() -> None:
    there, free = pool("0110")
    assert there.choose(free, 3, Placement.FILL) is None
    assert there.choose(free, 2, Placement.FILL, avoid=("G1",)) is None
    assert there.choose(free, 1, Placement.FILL, shun=("G1",)) == ("G2",)
    assert there.choose(free, 2, Placement.FILL, shun=("G1",)) == ("G1", "G2")


class Box:
    def __init__(self, *, gpus: int = 2, plain: int = 0, **limits: object) -> None:
        self.now = 1
        chosen = Limits(Resources(8, 32, plain), 10, 600_000, "box", **limits)  # type: ignore[arg-type]
        self.state = State(chosen)
        self.last = Decision()
        self.do(Recovered(1))
        if not plain:
            self.see(*EIGHT[:gpus])
        self.do(LauncherChanged(1, available=True))

    def do(self, event: Event) -> list[str]:
        """Gives the tasks whose attempt begins."""
        self.last = step(self.state, event)
        invariants.check(self.state)
        return [e.task.id for e in self.last.effects if isinstance(e, RunAttempt)]

    def see(self, *gpus: Gpu) -> list[str]:
        return self.do(GpusSeen(self.now, list(gpus)))

    def submit(self, *tasks: Task) -> list[str]:
        return self.do(Submitted(self.now, list(tasks)))

    def start(self, task_id: str) -> None:
        self.do(Started(self.now, task_id, self.state.tasks[task_id].attempt, self.now))

    def end(self, task_id: str, **end: object) -> list[str]:
        how = AttemptEnd(at=self.now, started_at=self.now, **(end or {"code": 0}))  # type: ignore[arg-type]
        return self.do(Ended(self.now, task_id, self.state.tasks[task_id].attempt, how))

    def collect(self, task_id: str) -> list[str]:
        return self.do(Collected(self.now, task_id, self.state.tasks[task_id].attempt))

    def task(self, task_id: str) -> Task:
        return self.state.tasks[task_id]

    @property
    def stopped(self) -> list[str]:
        return [e.task_id for e in self.last.effects if isinstance(e, StopAttempt)]

    @property
    def to_check(self) -> list[str]:
        return [u for e in self.last.effects if isinstance(e, CheckGpus) for u in e.uuids]


task = partial(tasks.task, gpu=1)


def test_gpu_is_allocated_again_after_its_check() -> None:
    """The outputs are still being kept: the next task runs already."""
    box = Box(gpus=1)
    assert box.submit(task("a"), task("b")) == ["a"]
    assert box.task("a").gpu_uuids == ("G0",)
    assert box.end("a") == []
    assert box.to_check == ["G0"]
    assert box.do(GpuChecked(1, "G0")) == ["b"]
    assert box.task("a").status is Status.COLLECTING


def test_plain_slots_are_free_at_once() -> None:
    box = Box(plain=1)
    box.submit(task("a"), task("b"))
    assert box.task("a").gpu_uuids == ("slot-0",)
    assert box.end("a") == ["b"]
    assert box.to_check == []


def test_shared_gpu_is_checked_when_its_last_task_is_gone() -> None:
    box = Box(gpus=1, slots_per_gpu=2)
    assert box.submit(task("a"), task("b"), task("c"), task("d")) == ["a", "b"]
    assert box.end("a") == ["c"]
    assert box.to_check == []


def test_request_for_two_gpus_gets_different_ones_despite_sharing() -> None:
    box = Box(gpus=2, slots_per_gpu=2)
    box.submit(task("a", gpu=2), task("b", gpu=2))
    assert [box.task(name).gpu_uuids for name in "ab"] == [("G0", "G1")] * 2


@pytest.mark.parametrize("kind", [ObstacleKind.BUSY, ObstacleKind.SICK, ObstacleKind.UNKNOWN])
def test_blocked_gpu_is_not_allocated(kind: ObstacleKind) -> None:
    box = Box(gpus=1)
    box.see(Gpu("G0", blocked=Obstacle(kind, "for a reason")))
    assert box.submit(task("a")) == []
    assert box.see(EIGHT[0]) == ["a"]


def test_drained_gpu_is_not_allocated_and_its_task_goes_on() -> None:
    box = Box(gpus=1)
    box.submit(task("a"), task("b"))
    assert box.do(GpuDrained(1, "G0", "root")) == []
    assert box.stopped == []
    box.end("a")
    assert box.do(GpuChecked(1, "G0")) == []
    assert box.do(GpuDrained(1, "G0", None)) == ["b"]


def test_task_on_a_lost_gpu_is_retried_elsewhere_uncounted() -> None:
    box = Box(gpus=2)
    box.submit(task("a"))
    box.start("a")
    box.see(Gpu("G0", blocked=OFF_THE_BUS), EIGHT[1])
    assert box.stopped == ["a"]
    box.end("a", code=0)  # whatever its end says
    box.collect("a")
    again = box.task("a")
    assert (again.status, again.retry_count, again.infra_retries) == (Status.QUEUED, 0, 1)
    assert again.error == "attempt 1: its GPU was lost: it has fallen off the bus"
    assert again.avoid_gpus == ("G0",)
    box.now = again.not_before
    assert box.see(*EIGHT[:2]) == ["a"]
    assert box.task("a").gpu_uuids == ("G1",)


def test_gpu_missing_from_the_inventory_is_lost() -> None:
    box = Box(gpus=2)
    box.submit(task("a"))
    box.start("a")
    box.see(EIGHT[1])
    assert box.stopped == ["a"]
    assert box.state.capacity.gpu == 2, "it may come back"
    assert str(box.state.gpus.obstacle("G0")) == "lost: no longer present"


def test_gpu_reported_lost_after_the_end_is_its_cause() -> None:
    box = Box(gpus=2)
    box.submit(task("a"))
    box.start("a")
    box.end("a", code=1)
    box.see(EIGHT[1])
    box.collect("a")
    assert box.task("a").infra_retries == 1


@pytest.mark.parametrize(("code", "again"), [(1, 1), (0, 0)])
def test_gpu_error_explains_failures_only(code: int, again: int) -> None:
    box = Box(gpus=2)
    box.submit(task("a"))
    box.start("a")
    failed = GpuFailed(box.now, "a", 1, ("G0",), "its GPU had an error: XID 94")
    box.do(failed)
    assert box.task("a").halt is None, "it runs still"
    box.end("a", code=code)
    box.do(failed)
    box.collect("a")
    assert ("a" in box.state.tasks) == bool(again)
    if again:
        assert box.task("a").error == "attempt 1: its GPU had an error: XID 94"
        assert (box.task("a").infra_retries, box.task("a").avoid_gpus) == (1, ("G0",))


def test_gpu_that_becomes_busy_while_preparing_is_left() -> None:
    box = Box(gpus=2)
    box.submit(task("a"))
    box.see(Gpu("G0", blocked=Obstacle(ObstacleKind.BUSY, "python3")), EIGHT[1])
    assert box.stopped == ["a"]
    box.do(NeverStarted(box.now, "a", 1))
    box.now = box.task("a").not_before
    assert box.do(TimePassed(box.now)) == ["a"]
    assert box.task("a").gpu_uuids == ("G1",)


def test_gpu_that_failed_a_task_is_used_if_there_is_no_other() -> None:
    box = Box(gpus=1)
    box.submit(task("a"))
    box.start("a")
    box.see()
    box.end("a", signal=9)
    box.do(GpuChecked(box.now, "G0", OFF_THE_BUS))
    box.collect("a")
    box.now = box.task("a").not_before
    assert box.see(EIGHT[0]) == ["a"]


def test_retries_after_faults_of_the_host_are_bounded() -> None:
    box = Box(gpus=1)
    box.submit(task("a"))
    for _ in range(MOST_INFRA_RETRIES):
        box.end("a", lost="the machine was restarted")
        box.collect("a")
        box.now = box.task("a").not_before
        box.do(TimePassed(box.now))
        box.do(GpuChecked(box.now, "G0"))
    box.end("a", lost="the machine was restarted")
    box.collect("a")
    assert "a" not in box.state.tasks
    assert box.last.changes[-1].failure_reason is FailureReason.LOST


@pytest.mark.parametrize(
    "end",
    [{"code": 1}, {"signal": 9, "out_of_memory": True}, {"signal": 9, "timed_out": True}],
)
def test_failures_of_the_task_are_not_retried_unrequested(end: dict[str, object]) -> None:
    box = Box()
    box.submit(task("a"), task("b", max_retries=1))
    for name in "ab":
        box.end(name, **end)
        box.collect(name)
    assert box.state.tasks.keys() == {"b"}
    assert (box.task("b").retry_count, box.task("b").infra_retries) == (1, 0)


def test_request_for_too_many_gpus_fails_once_they_are_known() -> None:
    live = [task("many", gpu=3), task("few")]
    state = State.restore(Limits(Resources(8, 32), 10, 600_000, "box"), live)
    assert step(state, Recovered(1)).changes == []
    changes = step(state, GpusSeen(1, list(EIGHT[:2]))).changes
    assert [change.error for change in changes] == ["requests 3 gpu, but this host has 2"]


def test_tasks_of_an_older_release_hold_plain_slots() -> None:
    """It did not say which."""
    live = [task(n, status=Status.RUNNING, attempt=1, started_at=1) for n in "ab"]
    state = State.restore(Limits(Resources(8, 32, 3), 10, 600_000, "box"), live)
    invariants.check(state)
    assert [t.gpu_uuids for t in state.tasks.values()] == [("slot-0",), ("slot-1",)]


def test_backfill_reservation_takes_no_more_than_requested() -> None:
    """It lacks cores; of four free GPUs it needs two: the other two serve on."""
    box = Box(gpus=4)
    box.submit(task("cores", gpu=0, cpu=8), task("large", gpu=2, cpu=4, created_at=1))
    box.now += 600_000
    small = [task(f"s{n}", created_at=box.now) for n in range(3)]
    assert box.submit(*small) == ["s0", "s1"]
    assert box.end("cores") == ["large"]


def test_remembered_lost_gpus_are_bounded() -> None:
    box = Box(gpus=0)
    for number in range(1000):
        box.see(Gpu(f"MIG-{number}"))
    assert len(box.state.gpus.inventory) < 100


def test_plain_slots_have_different_names() -> None:
    assert [gpu.uuid for gpu in plain_slots(3)] == ["slot-0", "slot-1", "slot-2"]
