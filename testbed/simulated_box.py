"""The core in simulated time: a host whose tasks run for given times."""

import itertools
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from fetchml.core.events import (
    CheckGpus,
    Collected,
    DiscardAttempt,
    Ended,
    Event,
    GpuChecked,
    GpusSeen,
    LauncherChanged,
    NeverStarted,
    OpenGate,
    Prestaged,
    RunAttempt,
    Started,
    StopAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.gpus.allocator import Gpu
from fetchml.core.model import AttemptEnd, Status, Task
from fetchml.core.reactor import step
from fetchml.core.state import Limits, State


class SimulatedBox:
    def __init__(
        self,
        limits: Limits,
        gpus: int,
        run_ms: Callable[[Task], int],
        *,
        look: Callable[[State], None] = lambda state: None,
    ) -> None:
        """`run_ms`: how long a task's command takes. `look`: called after every step."""
        self.state = State(limits)
        self.now = 0
        self.started: dict[str, int] = {}
        """When each task's command ran first."""
        self.ended: dict[str, int] = {}
        self.gpu_ms = 0
        """GPU time given to tasks, together."""
        self._run_ms = run_ms
        self._look = look
        self._events: list[tuple[int, int, Callable[[int], Event | None]]] = []
        self._numbers = itertools.count()
        self._stops: set[tuple[str, int]] = set()
        self._apply(
            GpusSeen(0, [Gpu(f"GPU-{position}", position=position) for position in range(gpus)])
        )
        self._apply(LauncherChanged(0, available=True))

    def run(self, tasks: Iterable[Task], until: int | None = None) -> None:
        """Submit each at its `created_at`; go on until nothing happens any more."""
        for task in tasks:
            self.at(task.created_at, lambda now, task=task: Submitted(now, [task]))  # type: ignore[misc]
        while self._events and (until is None or self._events[0][0] <= until):
            self.now, _, make = heappop(self._events)
            event = make(self.now)
            if event is not None:
                self._apply(event)
        if until is not None:
            self.now = until

    def at(self, when: int, make: Callable[[int], Event | None]) -> None:
        """`make` gives the event when its time has come; None: it means nothing any more."""
        heappush(self._events, (when, next(self._numbers), make))

    def _apply(self, event: Event) -> None:
        decision = step(self.state, event)
        self._look(self.state)
        for change in decision.changes:
            if change.status in (Status.COMPLETED, Status.FAILED):
                self.ended[change.id] = self.now
            elif change.status is Status.QUEUED and change.not_before > self.now:
                self.at(change.not_before, TimePassed)
        for effect in decision.effects:
            match effect:
                case RunAttempt(task=task) if task.prestaged:
                    self.at(self.now, lambda now, t=task: Prestaged(now, t.id, t.attempt))  # type: ignore[misc]
                case RunAttempt(task=task):
                    self._start(task)
                case OpenGate(task_id=task_id):
                    self._start(self.state.tasks[task_id])
                case DiscardAttempt(task_id=task_id):
                    task = self.state.tasks[task_id]
                    self.at(self.now, lambda now, t=task: NeverStarted(now, t.id, t.attempt))  # type: ignore[misc]
                case StopAttempt(task_id=task_id):
                    self._stop(self.state.tasks[task_id])
                case CheckGpus(uuids=uuids):
                    for uuid in uuids:
                        self.at(self.now, lambda now, u=uuid: GpuChecked(now, u))  # type: ignore[misc]

    def _start(self, task: Task) -> None:
        begun = self.now
        self.started.setdefault(task.id, begun)
        self.at(begun, lambda now: Started(now, task.id, task.attempt, begun))
        end = AttemptEnd(at=begun + self._run_ms(task), started_at=begun, code=0)
        self.at(end.at, lambda now: self._end(task, begun, end))

    def _stop(self, task: Task) -> None:
        if task.prestaged:
            self.at(self.now, lambda now: NeverStarted(now, task.id, task.attempt))
            return
        begun = task.started_at or self.now
        end = AttemptEnd(at=self.now, started_at=begun, signal=15, stopped=True)
        self.at(self.now, lambda now: self._end(task, begun, end))

    def _end(self, task: Task, begun: int, end: AttemptEnd) -> Event | None:
        attempt = (task.id, task.attempt)
        if attempt in self._stops:
            return None
        self._stops.add(attempt)
        self.gpu_ms += (end.at - begun) * (task.spec.gpu or 0)
        self.at(end.at, lambda now: Collected(now, task.id, task.attempt))
        return Ended(end.at, task.id, task.attempt, end)
