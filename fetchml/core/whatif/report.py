"""What a period was like: waiting times, use, and starts, by the versions of its tasks.

Recorded and replayed versions are measured alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from fetchml.core.model import ENDED, HOLDING, Status, Task, Value
from fetchml.core.whatif.replay import Host

SAME_MS = 1_000
"""Starts that differ by less count as the same."""


class Waits(Value, frozen=True):
    """Waiting times of tasks, in seconds: from the time at which a task may start (its submission,
    its `start_after`, its release) until it first gets its resources. A task that waits at the end
    of the period counts with its wait so far."""

    tasks: int
    p50: float
    p90: float
    user: str | None = None
    """`None`: of all users."""


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


class Measure:
    def __init__(self, since: int, until: int, live: Iterable[Task]) -> None:
        """`live`: the tasks at `since`."""
        self._period = max(1, until - since)
        self._until = until
        self._held: dict[str, tuple[int, int]] = {}
        """Slots and GPUs by task."""
        self._slot_ms = 0
        self._gpu_ms = 0
        self._waiting: dict[str, Task] = {}
        """Tasks that never had their resources."""
        self._waits: dict[str, list[int]] = {}
        """By user, in ms."""
        self.starts: dict[str, list[int]] = {}
        """By task: when it got its resources."""
        for task in live:
            if not any(attempt.allocated_at for attempt in task.earlier_attempts):
                self._waiting[task.id] = task
            self._hold(since, task)
            if _holds(task):
                self._waiting.pop(task.id, None)

    def add(self, at: int, task: Task) -> None:
        """Add a new version of a task."""
        if at > self._until:
            return
        if task.id in self._waiting or task.id not in self._held:
            self._waiting[task.id] = task
        if _holds(task) and self._held.get(task.id, (0, 0)) == (0, 0):
            self.starts.setdefault(task.id, []).append(at)
            if self._waiting.pop(task.id, None) is not None and not task.service:
                self._waits.setdefault(task.user, []).append(max(0, at - task.ready_at))
        elif task.status in ENDED:
            self._waiting.pop(task.id, None)
        self._hold(at, task)

    def outcome(self, host: Host) -> Outcome:
        waits = {user: list(some) for user, some in self._waits.items()}
        left = [task for task in self._waiting.values() if _is_ready(task, self._until)]
        for task in left:
            waits.setdefault(task.user, []).append(self._until - task.ready_at)
        users = [_quantiles(some, user) for user, some in waits.items()]
        slots = host.gpu_count * host.limits.slots_per_gpu
        return Outcome(
            _quantiles([wait for some in waits.values() for wait in some]),
            tuple(sorted(users, key=lambda each: (-each.tasks, each.user))),
            len(left),
            self._slot_ms / host.limits.max_running / self._period,
            self._gpu_ms / slots / self._period if slots else None,
        )

    def _hold(self, at: int, task: Task) -> None:
        """Note what the task holds from now on."""
        has_gpus = _holds(task) and task.status is not Status.COLLECTING
        slots, gpus = int(_holds(task)), (task.spec.gpu or 0) * has_gpus
        slots_before, gpus_before = self._held.get(task.id, (0, 0))
        self._slot_ms += (slots - slots_before) * (self._until - at)
        self._gpu_ms += (gpus - gpus_before) * (self._until - at)
        self._held[task.id] = slots, gpus


def compare(
    recorded: Mapping[str, Sequence[int]], replayed: Mapping[str, Sequence[int]]
) -> tuple[int, int]:
    """Return the number of starts, which are given by task, and how many of them are the same."""
    starts = same = 0
    for task_id in recorded.keys() | replayed.keys():
        for one, other in zip_longest(recorded.get(task_id, ()), replayed.get(task_id, ())):
            starts += 1
            same += one is not None and other is not None and abs(one - other) < SAME_MS
    return starts, same


def _quantiles(waits: Sequence[int], user: str | None = None) -> Waits:
    rising = sorted(waits) or [0]
    p50, p90 = (rising[round((len(rising) - 1) * part)] / 1000 for part in (0.5, 0.9))
    return Waits(len(waits), p50, p90, user)


def _holds(task: Task) -> bool:
    return task.status in HOLDING and not task.prestaged


def _is_ready(task: Task, now: int) -> bool:
    """Whether a waiting task may start as far as its request goes."""
    held = task.spec.hold or task.has_open_conditions
    return not (held or task.service or task.cancel is not None) and task.ready_at < now
