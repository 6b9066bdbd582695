"""A core with a few GPUs, driven by events that tests choose."""

import itertools

from fetchml.core.events import (
    Collected,
    Decision,
    DiscardAttempt,
    Ended,
    Event,
    GpuChecked,
    GpusSeen,
    LauncherChanged,
    OpenGate,
    Recovered,
    RunAttempt,
    Started,
    StopAttempt,
    Submitted,
)
from fetchml.core.gpus.allocator import Gpu
from fetchml.core.model import AttemptEnd, Resources, Task
from fetchml.core.reactor import step
from fetchml.core.state import Limits, State
from fetchml.engine.explain import explain
from tests.support import invariants, tasks

HOUR = 3_600_000
MINUTE = 60_000
RESERVE_MS = 10 * MINUTE


class Host:
    def __init__(
        self, gpus: int = 2, max_running: int = 10, memory_mb: int = 0, **limits: object
    ) -> None:
        self.now = 1
        chosen = Limits(Resources(8, 32), max_running, RESERVE_MS, "box", **limits)  # type: ignore[arg-type]
        self.state = State(chosen)
        self.gpus = [
            Gpu(f"G{position}", memory_mb=memory_mb, position=position) for position in range(gpus)
        ]
        self.last = Decision()
        self.do(Recovered(1))
        self.do(GpusSeen(1, self.gpus))
        self.do(LauncherChanged(1, available=True))

    def do(self, event: Event) -> list[str]:
        """Gives the tasks that start: their attempt begins, or their gate is opened."""
        before = {uuid: list(ids) for uuid, ids in self.state.gpus.holders.items()}
        self.last = step(self.state, event)
        invariants.check(self.state)
        invariants.check_joined(self.state, before)
        started = []
        for effect in self.last.effects:
            if isinstance(effect, RunAttempt) and not effect.task.prestaged:
                started.append(effect.task.id)
            elif isinstance(effect, OpenGate):
                started.append(effect.task_id)
        return started

    def restart(self) -> None:
        """A new server finds the tasks that were live."""
        packing = self.state.packing
        known = [] if packing is None else packing.peaks.dump()
        self.state = State.restore(self.state.limits, list(self.state.tasks.values()), peaks=known)
        self.do(Recovered(self.now))

    def submit(self, *tasks: Task) -> list[str]:
        started = self.do(Submitted(self.now, list(tasks)))
        for task_id in started:
            self.do(Started(self.now, task_id, self.task(task_id).attempt, self.now))
        return started

    def end(self, task_id: str, **end: object) -> list[str]:
        task = self.task(task_id)
        began = task.started_at or self.now
        how = AttemptEnd(at=self.now, started_at=began, **(end or {"code": 0}))  # type: ignore[arg-type]
        started = self.do(Ended(self.now, task_id, task.attempt, how))
        for uuid in task.gpu_uuids:
            started += self.do(GpuChecked(self.now, uuid))
        return started + self.do(Collected(self.now, task_id, task.attempt))

    def task(self, task_id: str) -> Task:
        return self.state.tasks[task_id]

    def reason(self, task_id: str) -> str:
        return explain(self.state, self.task(task_id), self.now).reason

    def of(self, kind: type[StopAttempt] | type[DiscardAttempt]) -> list[str]:
        return [effect.task_id for effect in self.last.effects if isinstance(effect, kind)]

    @property
    def prestaged(self) -> dict[str, tuple[str, ...]]:
        return {task.id: task.gpu_uuids for task in self.state.active() if task.prestaged}


_numbers = itertools.count(1)


def task(name: str, gpu: int = 1, *, user: str = "alice", at: int = 0, **spec: object) -> Task:
    """Each a little younger than the one before."""
    return tasks.task(name, user=user, created_at=at or next(_numbers), gpu=gpu, **spec)
