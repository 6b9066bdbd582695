"""The records of all sweeps, and the numbers of their tasks by status, kept up to date with every
durable change."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from fetchml.core import permissions
from fetchml.core.model import ENDED, Change, Principal, Status, Task
from fetchml.core.sweeps.model import Sweep
from fetchml.ports.store import StoredState
from fetchml.records import Documents, RecordSet

Counts = dict[Status, int]


class SweepCounts:
    """Used from one event loop. A task that was deleted, or submitted again in its sweep, does not
    count."""

    def __init__(self, restored: StoredState) -> None:
        self._counts: dict[str, Counter[Status]] = {}
        self._live: dict[str, dict[str, Status]] = {}
        """The status of each live task, by sweep and id."""
        for (sweep_id, status), number in restored.sweep_counts.items():
            if status in ENDED:
                self._of(sweep_id)[status] = number
        for task in restored.live:
            self._changed(task)

    def committed(self, changes: Sequence[Change]) -> None:
        """Take over changes that are durable, in order."""
        for change in changes:
            if change.task.spec.sweep is not None:
                self._changed(change.task, change)

    def of(self, sweep_id: str) -> Counts:
        """The number of tasks by the status that clients see."""
        return dict(self._counts.get(sweep_id, ()))

    def open(self) -> int:
        """The number of sweeps with tasks that have not ended."""
        return sum(map(bool, self._live.values()))

    def of_all(self) -> Counts:
        """The number of tasks of all sweeps by the status that clients see."""
        total = Counter[Status]()
        for each in self._counts.values():
            total.update(each)
        return dict(total)

    def live(self, sweep_id: str) -> list[str]:
        """Ids of the live tasks: first those that wait, the last created first."""
        live = self._live.get(sweep_id, {})
        waiting = [task_id for task_id, status in live.items() if status is Status.QUEUED]
        return waiting[::-1] + [
            task_id for task_id, status in live.items() if status != Status.QUEUED
        ]

    def has_tasks(self, sweep_id: str) -> bool:
        return any(self._counts.get(sweep_id, Counter()).values())

    def forget(self, sweep_id: str) -> None:
        """Drop the counts of a sweep without tasks."""
        self._counts.pop(sweep_id, None)

    def _changed(self, task: Task, change: Change | None = None) -> None:
        member = task.spec.sweep
        if member is None:
            return
        counts = self._of(member.id)
        if change is not None and change.is_after_end:
            return
        if task.hidden:
            counts[task.status] -= not task.superseded
            return
        live = self._live.setdefault(member.id, {})
        before = live.pop(task.id, None)
        if before is not None:
            counts[before] -= 1
        elif change is not None and member.retries:
            counts[Status.FAILED] -= 1  # It has just taken the place of a failed one.
        counts[task.shown_status] += 1
        if task.status not in ENDED:
            live[task.id] = task.shown_status
        elif not live:
            del self._live[member.id]

    def _of(self, sweep_id: str) -> Counter[Status]:
        return self._counts.setdefault(sweep_id, Counter())


KIND = "sweep"
TEMPLATES = "sweep_template"
"""Kind of the documents with the fields of sweeps' requests that have placeholders."""


class KnownSweeps(NamedTuple):
    """All sweeps, oldest first, and the numbers of their tasks."""

    records: RecordSet[Sweep]
    counts: SweepCounts

    @classmethod
    async def load(cls, store: Documents, restored: StoredState) -> "KnownSweeps":
        """Read them from the open store."""
        records = RecordSet(store, KIND, Sweep, lambda each: each.id)
        await records.load()
        return cls(records, SweepCounts(restored))

    def find(self, who: Principal, sweep_id: str, *, private: bool) -> Sweep | None:
        """Return a sweep that the caller may see. `private`: users see only their own."""
        found = self.records.get(sweep_id)
        if found is None or not permissions.may_see(who, found, private=private):
            return None
        return found

    def deleted(self, sweep: Sweep) -> int:
        """Number of its tasks that were deleted."""
        return max(0, sweep.total - sum(self.counts.of(sweep.id).values()))
