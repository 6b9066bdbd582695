"""What the core takes to decide with a long queue: no server, no disk."""

import gc
import random
import time
from collections.abc import Callable, Iterator
from itertools import product

from benchmarks.figures import Benchmark, Figure, median
from fetchml.core.events import (
    CheckGpus,
    Collected,
    DiscardAttempt,
    Effect,
    Ended,
    Event,
    GpuChecked,
    GpusSeen,
    LauncherChanged,
    NeverStarted,
    StopAttempt,
    Submitted,
)
from fetchml.core.gpus.allocator import Gpu
from fetchml.core.model import AttemptEnd, Resources, Task, TaskSpec
from fetchml.core.reactor import step
from fetchml.core.scheduling.estimate import estimate
from fetchml.core.state import Limits, State
from fetchml.engine.explain import explain
from fetchml.server.main import YOUNG_OBJECTS
from testbed.run_times import History

QUEUED = 10_000
USERS = 100
GPUS = 8
SHAPES = list(product((0, 1, 2, 3, 4, 8), (1, 2, 4, 8, 16)))
"""GPUs and cores: 30 kinds of demand."""
ENDS = 300
TARGET_DECISION_MS = 1.0
TARGET_EXPLAIN_MS = 5.0
TARGET_ESTIMATE_MS = 100.0
AGAINST = f"{QUEUED:,} ready tasks, {USERS} users, {len(SHAPES)} shapes, {GPUS} GPUs"


def run() -> Benchmark:
    gc.set_threshold(YOUNG_OBJECTS)
    for name, limits in (
        ("as it is set up", _limits()),
        ("quota, preemption, prepare ahead", _limits(user_gpus=4, preemption=True, prestage=True)),
    ):
        box = LongQueue(limits)
        yield _figure(f"a decision ({name})", list(box.ends()), TARGET_DECISION_MS)
        yield _figure(f"explain ({name})", list(box.explains()), TARGET_EXPLAIN_MS)
        yield _figure(f"an estimate for all ({name})", list(box.estimates()), TARGET_ESTIMATE_MS)


def _limits(**more: object) -> Limits:
    return Limits(Resources(128, 1024), 64, 600_000, "box", **more)  # type: ignore[arg-type]


def _figure(claim: str, seconds: list[float], target: float) -> Figure:
    seconds.sort()
    p50, p99 = median(seconds) * 1000, seconds[len(seconds) * 99 // 100] * 1000
    measured = f"median {p50:.2f} ms, p99 {p99:.2f} ms"
    return Figure(f"scheduling: {claim}", AGAINST, measured, f"< {target:g} ms", p50 < target)


class LongQueue:
    """A full box with a long queue that users with different pasts have filled for hours."""

    def __init__(self, limits: Limits) -> None:
        self.rng = random.Random(1)
        self.state = State(limits)
        self.now = 0
        self._effects: list[Effect] = []
        for number in range(USERS):
            self.state.shares.begin(f"user{number}", "past", 1.0, 0)
            self.state.shares.end(f"user{number}", "past", self.rng.randrange(100_000_000))
        self.now = 100_000_000
        tasks = [self._task(number) for number in range(QUEUED)]
        self._apply(GpusSeen(self.now, [Gpu(f"GPU-{n}", position=n) for n in range(GPUS)]))
        self._apply(Submitted(self.now, tasks))
        self._apply(LauncherChanged(self.now, available=True))
        self._answer()
        gc.freeze()  # as the server does

    def ends(self) -> Iterator[float]:
        """A task ends and another comes: how long the step takes that gives the GPUs on."""
        for number in range(ENDS):
            self.now += self.rng.randrange(10_000, 120_000)
            task = self.state.tasks[self.rng.choice(list(self.state.held))]
            end = AttemptEnd(at=self.now, started_at=self.now, code=0)
            events: list[Event] = [Ended(self.now, task.id, task.attempt, end)]
            events += [GpuChecked(self.now, uuid) for uuid in task.gpu_uuids]
            yield max(_seconds(lambda event=event: self._apply(event)) for event in events)  # type: ignore[misc]
            self._apply(Collected(self.now, task.id, task.attempt))
            self._apply(Submitted(self.now, [self._task(QUEUED + number)]))
            self._answer()

    def explains(self) -> Iterator[float]:
        waiting = sorted(task_id for task_id in self.state.tasks if task_id in self.state.queue)
        for task_id in self.rng.sample(waiting, 200):
            task = self.state.tasks[task_id]
            yield _seconds(lambda task=task: explain(self.state, task, self.now))  # type: ignore[misc]

    def estimates(self) -> Iterator[float]:
        """Of the whole queue, each user with a history of ten lengths."""
        history = History(
            {
                (f"user{number}", "job"): sorted(
                    int(self.rng.lognormvariate(12, 2)) for _ in range(10)
                )
                for number in range(USERS)
            },
            {},
        )
        for _ in range(10):
            yield _seconds(lambda: estimate(self.state, self.now, history))

    def _task(self, number: int) -> Task:
        gpu, cpu = self.rng.choice(SHAPES)
        spec = TaskSpec(
            "job",
            "image",
            ("run",),
            priority=self.rng.choice((4, 5, 5, 5, 6)),
            cpu=cpu,
            gpu=gpu,
            preemptible=self.rng.random() < 0.2,
        )
        user = f"user{self.rng.randrange(USERS)}"
        return Task(f"t{number:06}", user, spec, self.now - self.rng.randrange(7_200_000))

    def _apply(self, event: Event) -> None:
        self._effects += step(self.state, event).effects

    def _answer(self) -> None:
        """What a launcher would tell of the effects."""
        while self._effects:
            match self._effects.pop():
                case DiscardAttempt(task_id=task_id):
                    task = self.state.tasks[task_id]
                    self._apply(NeverStarted(self.now, task_id, task.attempt))
                case StopAttempt(task_id=task_id):
                    task = self.state.tasks[task_id]
                    self._apply(NeverStarted(self.now, task_id, task.attempt))
                case CheckGpus(uuids=uuids):
                    for uuid in uuids:
                        self._apply(GpuChecked(self.now, uuid))
                case _:
                    pass


def _seconds(work: Callable[[], object]) -> float:
    """Of this thread's processor time: others may use the machine."""
    began = time.thread_time()
    work()
    return time.thread_time() - began
