"""The committed state that reads are answered from: live tasks, the newest tasks, and counts.

Everything else is on disk. A page is answered from here when it is certain to be whole.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from fetchml.core.model import ENDED, HOLDING, Change, Status, Task
from fetchml.ports import Restored, TaskPage, TaskQuery

RECENT = 2_000
"""How many of the newest tasks are kept in memory."""


class Catalog:
    def __init__(self, restored: Restored) -> None:
        self.live: dict[str, Task] = {task.id: task for task in restored.live}
        """Oldest first."""
        self._recent: dict[str, Task] = {task.id: task for task in reversed(restored.recent)}
        """The newest visible tasks, oldest first."""
        self._counts = Counter(restored.counts)
        self._recent_is_all = len(restored.recent) == sum(restored.counts.values())
        self.live_bytes = sum(spec_bytes(task) for task in restored.live)
        """What the specifications of live tasks take, as JSON."""

    def apply(self, change: Change) -> None:
        task = change.task
        before = self.live.get(task.id)
        if task.hidden:
            self._counts[task.user, task.status] -= 1
            self._recent.pop(task.id, None)
            return
        if before is not None:
            self._counts[task.user, before.status] -= 1
        self._counts[task.user, task.status] += 1
        if task.status not in ENDED:
            self.live[task.id] = task
        elif before is not None:
            del self.live[task.id]
            self.live_bytes -= spec_bytes(task)
        if before is None:
            self._recent[task.id] = task
            self.live_bytes += spec_bytes(task)
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
                self._recent_is_all = False
        elif task.id in self._recent:
            self._recent[task.id] = task

    def get(self, task_id: str) -> Task | None:
        return self.live.get(task_id) or self._recent.get(task_id)

    def count(self, states: Iterable[Status], user: str | None = None) -> int:
        wanted = frozenset(states)
        return sum(
            number
            for (owner, status), number in self._counts.items()
            if status in wanted and user in (None, owner)
        )

    def page(self, query: TaskQuery) -> TaskPage | None:
        """None: only the store knows."""
        if query.job_name_prefix is not None or query.experiment_id is not None:
            return None
        states = frozenset(query.states or Status)
        only_live = not states & ENDED
        source = self.live if only_live else self._recent
        tasks: list[Task] = []
        skip = query.offset
        for task in reversed(source.values()):
            if len(tasks) == query.limit:
                break
            if task.status not in states or query.user not in (None, task.user):
                continue
            if query.before is not None and (task.created_at, task.id) >= query.before:
                continue
            if skip:
                skip -= 1
            else:
                tasks.append(task)
        total = self.count(states, query.user)
        whole = only_live or self._recent_is_all or len(tasks) == query.limit
        if not whole and query.before is None:
            whole = query.offset >= total
        return TaskPage(tasks, total) if whole else None

    @property
    def queued(self) -> int:
        return self.count((Status.QUEUED,))

    @property
    def holding(self) -> int:
        return self.count(HOLDING)


def spec_bytes(task: Task) -> int:
    return len(msgspec.json.encode(task.spec))
