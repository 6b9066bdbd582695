"""The tasks that wait: for a slot (ready), or for their time (delayed).

Ready tasks lie in one heap for each shape of resources: a scheduling pass looks at the most
urgent task of each shape, never at the whole queue.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from operator import itemgetter

import msgspec

from fetchml.core.model import Resources, Task


class Turn(msgspec.Struct, frozen=True, order=True, gc=False):
    """Order of the queue: the more urgent first (10 before 1), then the older."""

    urgency: int
    created_at: int
    task_id: str
    ready_at: int


def turn_of(task: Task) -> Turn:
    ready_at = max(task.created_at, task.not_before)
    return Turn(-task.spec.priority, task.created_at, task.id, ready_at)


class _Line:
    """The ready tasks of one shape. A removed task's turn stays in the heap until it would be
    next, or until such turns are the most of it."""

    def __init__(self) -> None:
        self.heap: list[Turn] = []
        self.live = 0

    def tidy(self, is_live: Callable[[str], object]) -> None:
        if len(self.heap) > 2 * self.live + 64:
            self.heap = [turn for turn in self.heap if is_live(turn.task_id)]
            heapify(self.heap)
        while self.heap and not is_live(self.heap[0].task_id):
            heappop(self.heap)


class ReadyQueue:
    def __init__(self) -> None:
        self._shape_of: dict[str, Resources] = {}
        self._lines: dict[Resources, _Line] = {}
        self._delayed: list[tuple[int, str]] = []
        self._delayed_tasks: dict[str, Task] = {}

    def __len__(self) -> int:
        return len(self._shape_of) + len(self._delayed_tasks)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._shape_of or task_id in self._delayed_tasks

    def add(self, task: Task, now: int) -> None:
        if task.not_before > now:
            self._delayed_tasks[task.id] = task
            heappush(self._delayed, (task.not_before, task.id))
            return
        shape = task.spec.resources
        line = self._lines.get(shape)
        if line is None:
            line = self._lines[shape] = _Line()
        self._shape_of[task.id] = shape
        heappush(line.heap, turn_of(task))
        line.live += 1

    def remove(self, task_id: str) -> None:
        self._delayed_tasks.pop(task_id, None)
        shape = self._shape_of.pop(task_id, None)
        if shape is None:
            return
        line = self._lines[shape]
        line.live -= 1
        line.tidy(self._shape_of.get)
        if not line.heap:
            del self._lines[shape]

    def due(self, now: int) -> None:
        """Tasks whose time has come join the ready ones."""
        while self._delayed and self._delayed[0][0] <= now:
            _, task_id = heappop(self._delayed)
            task = self._delayed_tasks.pop(task_id, None)
            if task is not None:
                self.add(task, now)

    def next_due(self) -> int | None:
        """When the next delayed task becomes ready."""
        while self._delayed and self._delayed[0][1] not in self._delayed_tasks:
            heappop(self._delayed)
        return self._delayed[0][0] if self._delayed else None

    def heads(self) -> list[tuple[Turn, Resources]]:
        """The most urgent ready task of each shape, the most urgent of all first."""
        heads = [(line.heap[0], shape) for shape, line in self._lines.items()]
        heads.sort(key=itemgetter(0))
        return heads

    def ahead_of(self, task: Task) -> int:
        """How many ready tasks come before this one. Looks at all of them."""
        mine = turn_of(task)
        return sum(turn < mine for turn in self._turns())

    def size_in_memory(self) -> int:
        """Turns kept, those of removed tasks included."""
        return sum(len(line.heap) for line in self._lines.values())

    def _turns(self) -> Iterator[Turn]:
        for line in self._lines.values():
            for turn in line.heap:
                if turn.task_id in self._shape_of:
                    yield turn
