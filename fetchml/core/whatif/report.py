"""What a period was like: waiting times, use, and starts, by the versions of its tasks.

Recorded and replayed versions are measured alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from fetchml.core.model import ENDED, HOLDING, Resources, Status, Task, Value
from fetchml.core.scheduling.resources import Limits, fits

SAME_MS = 1_000
"""Starts that differ by less count as the same."""


class Waits(Value, frozen=True):
    """Waiting times of tasks, in seconds: from the time at which a task may start (its submission,
    its `start_after`, its release) until it first gets its resources. A task that waits at the end
    of the period counts with its wait so far."""

    tasks: int
    p50: float
    p90: float
    mean: float
    user: str | None = None
    """`None`: of all users."""

    @classmethod
    def of(cls, waits: Iterable[int], user: str | None = None) -> "Waits":
        """`waits`: in ms."""
        rising = sorted(waits)
        if not rising:
            return cls(0, 0, 0, 0, user)
        last = len(rising) - 1
        p50, p90 = (rising[round(last * part)] / 1000 for part in (0.5, 0.9))
        return cls(len(rising), p50, p90, sum(rising) / len(rising) / 1000, user)


class Outcome(Value, frozen=True):
    """Waiting times and use in the period."""

    waits: Waits
    users: tuple[Waits, ...]
    """By user, the one with the most tasks first."""
    not_started: int
    """Tasks that still wait at the end, those that are held back excluded."""
    slots_busy: float
    """Part of the slots (`max_running`) that tasks held, from 0 to 1."""
    gpus_busy: float | None
    """Part of the GPUs that tasks held; `None` without GPUs."""


class Fidelity(NamedTuple):
    """Starts of a replay with nothing changed, compared with the recorded ones."""

    starts: int
    same: int
    largest_ms: int
    """Largest difference of a start that both have."""


class Measure:
    def __init__(self, since: int, until: int, live: Iterable[Task]) -> None:
        """`live`: the tasks at `since`."""
        self._since = since
        self._until = until
        self._slots: dict[str, int] = {}
        """By task: since when it holds a slot."""
        self._gpus: dict[str, tuple[int, int]] = {}
        """By task: since when it holds how many GPUs."""
        self._slot_ms = 0
        self._gpu_ms = 0
        self._waiting: dict[str, Task] = {}
        """Tasks that never had their resources."""
        self._waits: dict[str, list[int]] = {}
        self.starts: dict[str, list[int]] = {}
        self._known = set[str]()
        for task in live:
            self._known.add(task.id)
            if _holds(task):
                self._held(since, task)
            elif not any(attempt.allocated_at for attempt in task.earlier_attempts):
                self._waiting[task.id] = task

    def add(self, at: int, task: Task) -> None:
        """Add a new version of a task."""
        if at > self._until:
            return
        if task.id not in self._known:
            self._known.add(task.id)
            self._waiting[task.id] = task
        if _holds(task) and task.id not in self._slots:
            self.starts.setdefault(task.id, []).append(at)
            if self._waiting.pop(task.id, None) is not None and not task.service:
                self._waits.setdefault(task.user, []).append(max(0, at - task.ready_at))
        elif task.id in self._waiting:
            self._waiting[task.id] = task
            if task.status in ENDED:
                del self._waiting[task.id]
        self._held(at, task)

    def outcome(self, limits: Limits, gpus: int) -> Outcome:
        """`gpus`: GPU slots of the host."""
        waits = {user: list(some) for user, some in self._waits.items()}
        left = [task for task in self._waiting.values() if _is_ready(task, self._until)]
        for task in left:
            waits.setdefault(task.user, []).append(self._until - task.ready_at)
        period = max(1, self._until - self._since)
        slot_ms = self._slot_ms + sum(self._until - since for since in self._slots.values())
        gpu_ms = self._gpu_ms + sum(n * (self._until - since) for since, n in self._gpus.values())
        users = [Waits.of(some, user) for user, some in waits.items()]
        return Outcome(
            Waits.of(wait for some in waits.values() for wait in some),
            tuple(sorted(users, key=lambda each: (-each.tasks, each.user))),
            len(left),
            slot_ms / limits.max_running / period,
            gpu_ms / gpus / period if gpus else None,
        )

    def beyond(self, capacity: Resources) -> int:
        """Return how many tasks that wait at the end request more than the host has."""
        return sum(
            _is_ready(task, self._until) and not fits(task.spec.resources, capacity)
            for task in self._waiting.values()
        )

    def _held(self, at: int, task: Task) -> None:
        """Note what the task holds from now on."""
        has_gpus = _holds(task) and task.status is not Status.COLLECTING and bool(task.spec.gpu)
        if _holds(task):
            self._slots.setdefault(task.id, at)
        elif (since := self._slots.pop(task.id, None)) is not None:
            self._slot_ms += at - since
        if has_gpus:
            self._gpus.setdefault(task.id, (at, task.spec.gpu or 0))
        elif (held := self._gpus.pop(task.id, None)) is not None:
            self._gpu_ms += (at - held[0]) * held[1]


def compare(
    recorded: Mapping[str, Sequence[int]], replayed: Mapping[str, Sequence[int]]
) -> Fidelity:
    """Compare starts by task."""
    starts = same = largest = 0
    for task_id in recorded.keys() | replayed.keys():
        for one, other in zip_longest(recorded.get(task_id, ()), replayed.get(task_id, ())):
            starts += 1
            if one is not None and other is not None:
                same += abs(one - other) < SAME_MS
                largest = max(largest, abs(one - other))
    return Fidelity(starts, same, largest)


def _holds(task: Task) -> bool:
    return task.status in HOLDING and not task.prestaged


def _is_ready(task: Task, now: int) -> bool:
    """Whether a waiting task may start as far as its request goes."""
    held = task.spec.hold or task.has_open_conditions
    return not (held or task.service or task.cancel is not None) and task.ready_at < now
