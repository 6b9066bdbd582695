"""The tasks of the ready queue that are alike."""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

import msgspec

from fetchml.core.model import Resources, Task
from fetchml.core.packing.peaks import Job


class QueueEntry(msgspec.Struct, frozen=True, order=True, gc=False):
    """A ready task in its sub-queue. Entries are ordered by age, then id."""

    created_at: int
    task_id: str
    ready_at: int
    """Since when it waits for its resources (`Task.ready_at`)."""


def entry_of(task: Task, since: int = 0) -> QueueEntry:
    ready_at = max(task.ready_at, since) if since else task.ready_at
    return QueueEntry(task.created_at, task.id, ready_at)


class Shape:
    """The resources that a task needs in order to start, and the GPUs that it avoids. Tasks that
    need the same share one object."""

    __slots__ = ("avoid", "fits", "job", "resources", "waiting")

    def __init__(
        self, resources: Resources, avoid: tuple[str, ...], job: Job | None = None
    ) -> None:
        self.resources = resources
        self.avoid = avoid
        self.job = job
        """The job by whose peak of GPU memory the task may share GPUs, once that is known; `None`
        if it may not, or if the server does not pack."""
        self.waiting = 0
        """Number of ready tasks of this shape."""
        self.fits = False
        """Scratch field of the scheduler, valid within one pass."""

    @property
    def needs(self) -> tuple[Resources, tuple[str, ...], Job | None]:
        return self.resources, self.avoid, self.job


class SubQueue:
    """The ready tasks of one priority, user and shape. A prestaged task is a sub-queue of its own.

    A removed task's entry stays in the heap until it reaches the top, or until most entries are
    those of removed tasks.
    """

    __slots__ = ("heap", "key", "live", "prestaged", "priority", "shape", "user")

    def __init__(self, priority: int, user: str, shape: Shape, prestaged: str | None) -> None:
        self.priority = priority
        self.user = user
        self.shape = shape
        self.prestaged = prestaged
        """Id of its only task if that one is prestaged, else `None`."""
        self.key: object = shape if prestaged is None else prestaged
        self.heap: list[QueueEntry] = []
        self.live = 0
        """Number of tasks; the heap may have more entries."""

    @property
    def head(self) -> QueueEntry:
        return self.heap[0]

    def in_order(self) -> Iterator[tuple[QueueEntry, "SubQueue"]]:
        """Yield its entries by age, those of removed tasks included. Lazy: N entries cost
        O(N log N), whatever the length of the queue."""
        next_ones = [(self.heap[0], 0)]
        while next_ones:
            entry, place = heappop(next_ones)
            yield entry, self
            for below in (2 * place + 1, 2 * place + 2):
                if below < len(self.heap):
                    heappush(next_ones, (self.heap[below], below))

    def copy(self) -> "SubQueue":
        other = SubQueue(self.priority, self.user, self.shape, self.prestaged)
        other.heap = list(self.heap)
        other.live = self.live
        return other

    def tidy(self, is_live: Callable[[QueueEntry], bool]) -> None:
        """Drop entries of removed tasks, so that the head is one of a live task."""
        if len(self.heap) > 2 * self.live + 64:
            self.heap = [entry for entry in self.heap if is_live(entry)]
            heapify(self.heap)
        while self.heap and not is_live(self.heap[0]):
            heappop(self.heap)


def head_of(queue: SubQueue) -> QueueEntry:
    return queue.heap[0]
