"""The newest tasks of a set that is too large for memory."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from fetchml.core.footprint import task_footprint
from fetchml.core.model import Task

ListKey = tuple[int, str]
"""When a task was created, and its id: the order of lists."""

BEFORE_ALL: ListKey = (-1, "")
"""Before every task."""


def list_key(task: Task) -> ListKey:
    return task.created_at, task.id


class RecentTasks:
    """Every task of the set from `floor` on; those before it are not kept. Tasks are added in any
    order, since they end in any."""

    def __init__(
        self, newest_first: Sequence[Task], *, limit: int, most_bytes: int, of_all: int
    ) -> None:
        """`of_all`: how many tasks the set has. The newest of them are given, if there is one.
        `most_bytes`: memory that those kept may take, but for the newest one."""
        self._by_id = {task.id: task for task in newest_first}
        self._keys = [list_key(task) for task in reversed(newest_first)]
        self._limit = limit
        self._most_bytes = most_bytes
        self._bytes = sum(task_footprint(task) for task in newest_first)
        self.floor = BEFORE_ALL if len(newest_first) == of_all else self._keys[0]

    def get(self, task_id: str) -> Task | None:
        return self._by_id.get(task_id)

    def newest_first(self) -> Iterator[Task]:
        return (self._by_id[task_id] for _, task_id in reversed(self._keys))

    def add(self, task: Task) -> None:
        if list_key(task) < self.floor:
            return
        self._by_id[task.id] = task
        insort(self._keys, list_key(task))
        self._bytes += task_footprint(task)
        self._evict()

    def _evict(self) -> None:
        while len(self._keys) > self._limit or (
            self._bytes > self._most_bytes and len(self._keys) > 1
        ):
            _, too_old = self._keys.pop(0)
            self._bytes -= task_footprint(self._by_id.pop(too_old))
            self.floor = self._keys[0]

    def replace(self, task: Task) -> None:
        """With a newer version of it. Fine also when it is not kept."""
        before = self._by_id.get(task.id)
        if before is not None:
            self._by_id[task.id] = task
            self._bytes += task_footprint(task) - task_footprint(before)
            self._evict()

    def remove(self, task: Task) -> None:
        """Fine also when it is not kept."""
        kept = self._by_id.pop(task.id, None)
        if kept is not None:
            self._bytes -= task_footprint(kept)
            del self._keys[bisect_left(self._keys, list_key(task))]
