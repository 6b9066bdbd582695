"""The resources that tasks hold, and their sums by user and day.

Taken from the durable changes of tasks, so that a task of a millisecond counts as well. What was
not stored before a crash follows from the tasks: running ones record since when they hold their
resources, ended ones until when they did.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from msgspec.structs import replace

from fetchml.core.model import ENDED, Change, Status, Task
from fetchml.core.state import Limits
from fetchml.core.usage import DayUse, GpuHold, UserDay, parts_of_days
from fetchml.engine.daily_counts import day_of
from fetchml.ports.store import Store, StoredState

_HOLDING = (Status.PREPARING, Status.RUNNING)
"""Without COLLECTING: only the slot is held then, no core and no GPU."""


@dataclass(slots=True)
class _Holding:
    """The resources of an attempt."""

    user: str
    attempt: int
    cores: int
    gpus: tuple[str, ...]
    gpu_count: int
    """On a cluster the GPUs may not be named."""
    since: int
    counted: int
    """Up to here it is in the sums."""


class UsageLedger:
    """Used from one event loop."""

    def __init__(self, zone: tzinfo, slots_per_gpu: int, clock: Callable[[], int]) -> None:
        self._zone = zone
        self._slots_per_gpu = max(1, slots_per_gpu)
        self._clock = clock
        self._live = set[str]()
        self._holding: dict[str, _Holding] = {}
        self._ended: list[GpuHold] = []
        self._taken: list[GpuHold] = []
        """Those of the last `take`, which may not be stored yet."""
        self._sums: dict[UserDay, DayUse] = {}

    @classmethod
    async def opened(
        cls,
        store: Store,
        restored: StoredState,
        zone: tzinfo,
        slots_per_gpu: int,
        clock: Callable[[], int],
    ) -> "UsageLedger":
        """Return the ledger of what the open store held."""
        ledger = cls(zone, slots_per_gpu, clock)
        recent = [task for ended in restored.recent.values() for task in ended]
        ledger.load(restored.live, recent, await store.usage.accounted_until())
        return ledger

    def load(self, live: Iterable[Task], recent: Iterable[Task], stored_until: int) -> None:
        """Go on where an earlier server stored its sums last; 0: it stored none."""
        since = stored_until or self._clock()
        over = [task for task in recent if (task.ended_at or 0) > since]
        # As if these had ended just now.
        ran = [replace(task, status=Status.RUNNING) for task in over if task.allocated_at]
        self.committed([Change(0, since, task) for task in (*live, *ran)])
        for held in self._holding.values():
            held.counted = max(held.counted, since)
        self._live.update(task.id for task in over)
        self.committed([Change(0, task.ended_at or since, task) for task in over])

    def committed(self, changes: Sequence[Change]) -> None:
        """Follow the durable changes. On the way of a submit: it calls nothing before the end."""
        hidden: set[str] = set()
        for change in changes:
            task = change.task
            held = self._holding.get(task.id)
            if held is None and task.status is Status.QUEUED:  # Every submit.
                self._live.add(task.id)
                continue
            holds = task.status in _HOLDING and not task.prestaged
            if held is not None and not (holds and held.attempt == task.attempt):
                self._leave(task, change.at)
                held = None
            if holds and held is None:
                since = task.allocated_at or task.started_at or change.at
                self._holding[task.id] = _Holding(
                    task.user,
                    task.attempt,
                    task.spec.cpu or 0,
                    task.gpu_uuids,
                    len(task.gpu_uuids) or task.spec.gpu or 0,
                    since,
                    since,
                )
            if task.status not in ENDED:
                self._live.add(task.id)
            elif task.id in self._live:
                self._live.discard(task.id)
                self._count(task, task.ended_at or change.at)
            if task.hidden:
                hidden.add(task.id)
        if hidden:  # Once for all of them: a deletion may be of thousands.
            self._ended = [hold for hold in self._ended if hold.task_id not in hidden]
            self._taken = [hold for hold in self._taken if hold.task_id not in hidden]

    def take(self) -> tuple[list[GpuHold], dict[UserDay, DayUse], int]:
        """Return what is to be stored: holds that have ended, the sums since the last call, and
        the time up to which they have everything."""
        now = self._clock()
        for held in self._holding.values():
            self._add_time(held, now)
        taken = self._ended, self._sums, now
        self._taken, self._ended, self._sums = self._ended, [], {}
        return taken

    def holds(self) -> list[GpuHold]:
        """Return the holds that go on, and those that have ended and may not be stored yet."""
        going_on = [
            GpuHold(uuid, task_id, held.user, held.since)
            for task_id, held in self._holding.items()
            for uuid in held.gpus
        ]
        return going_on + self._ended + self._taken

    def _leave(self, task: Task, at: int) -> None:
        """End what the task holds."""
        held = self._holding.pop(task.id)
        end = task.end.at if task.end is not None and task.attempt == held.attempt else at
        end = min(end, at)
        self._add_time(held, end)
        self._ended += [
            GpuHold(uuid, task.id, held.user, held.since, max(end, held.since))
            for uuid in held.gpus
        ]

    def _add_time(self, held: _Holding, until: int) -> None:
        for begin, length in parts_of_days(held.counted, until):
            gpu_ms = length * held.gpu_count // self._slots_per_gpu
            self._add(begin, held.user, DayUse(gpu_ms, length * held.cores))
        held.counted = max(held.counted, until)

    def _count(self, task: Task, at: int) -> None:
        if not task.service:
            completed = task.status is Status.COMPLETED
            self._add(at, task.user, DayUse(completed=int(completed), failed=int(not completed)))

    def _add(self, at: int, user: str, use: DayUse) -> None:
        if use != DayUse():
            key = UserDay(day_of(at, self._zone), user)
            self._sums[key] = self._sums.get(key, DayUse()).plus(use)


async def restored_ledger(
    store: Store, restored: StoredState, zone: tzinfo, limits: Limits, clock: Callable[[], int]
) -> UsageLedger:
    ledger = UsageLedger(zone, limits.slots_per_gpu, clock)
    recent = [task for ended in restored.recent.values() for task in ended]
    ledger.load(restored.live, recent, await store.usage.accounted_until())
    return ledger
