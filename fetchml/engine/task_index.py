"""The committed state that reads are answered from: live tasks, the newest ended ones, and counts.

Everything else is on disk. A page is answered from here when it is certain to be whole.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from fetchml.core.model import ENDED, HOLDING, Change, Status, Task
from fetchml.engine.recent_tasks import BEFORE_ALL, ListKey, RecentTasks, list_key
from fetchml.ports.store import StoredState, TaskPage, TaskQuery

RECENT = 2_000
"""Number of the newest tasks of each final state that are kept in memory."""
RECENT_BYTES = 32 << 20
"""Memory limit of the tasks of one state."""
MAX_LOOKED_AT = 10_000
"""Tasks that a page may be searched in here: a deep one is the store's, off the event loop."""


class TaskIndex:
    def __init__(self, restored: StoredState) -> None:
        self.live: dict[str, Task] = {t.id: t for t in restored.live if not t.service}
        """Oldest first, as long as `_in_order`."""
        self._newest = max(map(list_key, self.live.values()), default=BEFORE_ALL)
        self._in_order = True
        """Not so once a task came that was created before another live one: the machine's clock
        was set back by far."""
        self.services: dict[str, Task] = {t.id: t for t in restored.live if t.service}
        """The live ones: apart, since they are in no list and no count of tasks."""
        self._counts = Counter(restored.counts)
        """By user and the status that is shown."""
        for task in self.live.values():
            self._counts[task.user, task.status] -= 1
            self._counts[task.user, task.shown_status] += 1
        self._ended = {
            status: RecentTasks(
                restored.recent.get(status, ()),
                limit=RECENT,
                most_bytes=RECENT_BYTES,
                of_all=self.count((status,)),
            )
            for status in ENDED
        }

    def committed(self, changes: Sequence[Change]) -> None:
        """Take over changes that are durable, in order."""
        for change in changes:
            task = change.task
            if task.service:
                self._service_changed(task)
            elif task.status in ENDED and change.is_after_end:
                self._ended[task.status].replace(task)
            elif task.hidden:
                self._counts[task.user, task.status] -= 1
                self._ended[task.status].remove(task)
            else:
                before = self.live.get(task.id)
                if before is not None:
                    self._counts[task.user, before.shown_status] -= 1
                self._counts[task.user, task.shown_status] += 1
                if task.status in ENDED:
                    self._ended[task.status].add(task)
                    self.live.pop(task.id, None)
                else:
                    self.live[task.id] = task
                    if before is None:
                        self._came(list_key(task))

    def _service_changed(self, task: Task) -> None:
        if task.status in ENDED:
            self.services.pop(task.id, None)
        else:
            self.services[task.id] = task

    def _came(self, new: ListKey) -> None:
        if len(self.live) == 1:
            self._in_order = True
        elif new < self._newest:
            self._in_order = False
            return
        self._newest = new

    def get(self, task_id: str) -> Task | None:
        task = self.live.get(task_id)
        if task is not None:
            return task
        return next(filter(None, (newest.get(task_id) for newest in self._ended.values())), None)

    def count(self, states: Iterable[Status], user: str | None = None) -> int:
        wanted = frozenset(states)
        return sum(
            number
            for (owner, status), number in self._counts.items()
            if status in wanted and user in (None, owner)
        )

    def page(self, query: TaskQuery) -> TaskPage | None:
        """`None` if only the store has it. `most_bytes` does not cut it: its tasks are in memory
        anyway."""
        if _needs_search(query):
            return None
        states = frozenset(query.states or Status)
        total = self.count(states, query.user)
        if query.limit == 0 or query.offset >= total:
            return TaskPage([], total)
        if states - ENDED and not self._in_order:
            return None
        ended = [self._ended[status] for status in states & ENDED]
        floor = max((newest.floor for newest in ended), default=BEFORE_ALL)
        tasks: list[Task] = []
        skip = query.offset
        folds = query.fold_sweeps or query.fold_experiments
        groups = set[tuple[str, str]]()
        for looked_at, task in enumerate(self._newest_first(states, ended)):
            if looked_at == MAX_LOOKED_AT or list_key(task) < floor:
                return None
            if task.shown_status not in states or query.user not in (None, task.user):
                continue
            if folds and (group := _group(task, query)):
                if group in groups:
                    continue
                groups.add(group)
            if query.before is not None and list_key(task) >= query.before:
                continue
            if skip:
                skip -= 1
                continue
            tasks.append(task)
            if len(tasks) == query.limit:
                return TaskPage(tasks, total)
        return TaskPage(tasks, total) if floor == BEFORE_ALL else None

    def _newest_first(
        self, states: frozenset[Status], ended: Iterable[RecentTasks]
    ) -> Iterator[Task]:
        sources = [newest.newest_first() for newest in ended]
        if states - ENDED:
            sources.append(reversed(self.live.values()))
        return heapq.merge(*sources, key=list_key, reverse=True)

    @property
    def waiting(self) -> int:
        """Prestaged ones too."""
        return self.count((Status.QUEUED,))

    @property
    def holding(self) -> int:
        """All that have their slot."""
        return self.count(HOLDING)


def _group(task: Task, query: TaskQuery) -> tuple[str, str] | None:
    """Return the kind and the id of the experiment or sweep into which the task is folded."""
    spec = task.spec
    if query.fold_experiments and spec.experiment_id is not None:
        return "experiment", spec.experiment_id
    if query.fold_sweeps and spec.sweep is not None and not task.superseded:
        return "sweep", spec.sweep.id
    return None


def _needs_search(query: TaskQuery) -> bool:
    """Whether the query has a filter for which no total is counted in memory."""
    return bool(query.labels) or any(
        each is not None
        for each in (
            query.job_name_prefix,
            query.experiment_id,
            query.sweep_id,
            query.text,
            query.created_after,
            query.created_before,
            query.id_suffix,
        )
    )
