"""The queue of waiting tasks: ready ones wait for their resources, delayed ones for their time.

Ready tasks of one priority, user and shape form a sub-queue, ordered by age. A decision looks at
the heads of sub-queues only, so that its cost does not grow with the number of waiting tasks.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import heapify, heappop, heappush, merge, nsmallest
from itertools import accumulate, groupby, islice

import msgspec

from fetchml.core import retry
from fetchml.core.model import Resources, Task
from fetchml.core.packing import Job, WaitingJobs


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
    """The ready tasks of one priority, user and shape. A prestaged task has its own sub-queue.

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
            entry, index = heappop(next_ones)
            yield entry, self
            for below in (2 * index + 1, 2 * index + 2):
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


JobOf = Callable[[Task, WaitingJobs], Job | None]

COUNTED = 5_000
"""Entries that are compared at once, in about a millisecond."""

ShareLevel = Callable[[str], int]
"""A user's fair-share level (`shares.Shares.level`); lower goes first."""


def all_equal(user: str) -> int:
    return 0


class ReadyQueue:
    def __init__(self) -> None:
        self.job_of: JobOf | None = None
        """Returns the `Shape.job` of a task; `None` if the server does not pack."""
        self._jobs = WaitingJobs()
        self._queues: dict[int, dict[str, dict[object, SubQueue]]] = {}
        """By priority, user, and the sub-queue's own key."""
        self._shapes: dict[tuple[Resources, tuple[str, ...], Job | None], Shape] = {}
        self._queue_of: dict[str, SubQueue] = {}
        self._entry_of: dict[str, QueueEntry] = {}
        """Of the same tasks. Two tables instead of one of pairs, which would be one more object
        per task for the garbage collector."""
        self.by_user: dict[str, int] = {}
        """Number of each user's waiting tasks, delayed ones included, prestaged ones excluded. No
        number is 0."""
        self._delayed: list[tuple[int, str]] = []
        """A heap of due times and ids of delayed tasks; removed tasks may still be in it."""
        self._delayed_tasks: dict[str, Task] = {}
        self._now: int | None = None
        """The last `now` that `due` was called with; `None` before the first call."""

    def copy(self) -> "ReadyQueue":
        """Return a copy that does not change with this one."""
        other = ReadyQueue()
        other.job_of = self.job_of
        other._jobs = self._jobs.copy()
        other._shapes = dict(self._shapes)
        other._queue_of = dict(self._queue_of)
        other._entry_of = dict(self._entry_of)
        other._queues = {
            priority: {
                user: {key: queue.copy() for key, queue in queues.items()}
                for user, queues in users.items()
            }
            for priority, users in self._queues.items()
        }
        other.by_user = dict(self.by_user)
        other._delayed = list(self._delayed)
        other._now = self._now
        other._delayed_tasks = dict(self._delayed_tasks)
        return other

    def __len__(self) -> int:
        return len(self._queue_of) + len(self._delayed_tasks)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._queue_of or task_id in self._delayed_tasks

    @property
    def shapes(self) -> list[Shape]:
        """Shapes of all ready tasks."""
        return list(self._shapes.values())

    @property
    def highest(self) -> int:
        """Priority of the most urgent ready tasks; 0 if there are none."""
        return max(self._queues) if self._queues else 0

    def add(self, task: Task, now: int, *, since: int = 0) -> None:
        """`since`: when it began to wait for its resources, if that was after its creation."""
        if not task.prestaged:
            self.by_user[task.user] = self.by_user.get(task.user, 0) + 1
        if task.not_before > now and not task.prestaged:
            self._delayed_tasks[task.id] = task
            heappush(self._delayed, (task.not_before, task.id))
            return
        self._enqueue(task, since)

    def remove(self, task_id: str) -> None:
        delayed = self._delayed_tasks.pop(task_id, None)
        if delayed is not None:
            self._uncount(delayed.user)
            return
        queue = self._queue_of.pop(task_id, None)
        if queue is None:
            return
        del self._entry_of[task_id]
        queue.live -= 1
        queue.shape.waiting -= 1
        if queue.prestaged is None:
            self._uncount(queue.user)
        if not queue.shape.waiting:
            del self._shapes[queue.shape.needs]
            self._jobs.remove(queue.shape.job)
        if queue.live:
            queue.tidy(self._is_live)
            return
        users = self._queues[queue.priority]
        queues = users[queue.user]
        del queues[queue.key]
        if not queues:
            del users[queue.user]
        if not users:
            del self._queues[queue.priority]

    def due(self, now: int, elapsed: int = 0) -> None:
        """Make delayed tasks ready whose delay is over: those due at or before `now`, and those
        due at or before `elapsed`, a time that a timer has measured (see `TimePassed.due`).

        If `now` is earlier than at the last call, the wall clock was set back: each delayed task
        then waits for the rest of its delay from `now` on.
        """
        if self._delayed:
            self._enqueue_due(elapsed)
            if self._now is None or now < self._now:
                self._move_back(now)
            self._enqueue_due(now)
        self._now = now

    def _enqueue_due(self, time: int) -> None:
        while self._delayed and self._delayed[0][0] <= time:
            _, task_id = heappop(self._delayed)
            task = self._delayed_tasks.pop(task_id, None)
            if task is not None:
                self._enqueue(task)

    def _move_back(self, now: int) -> None:
        """Shift all due times by as much as the clock went back. After a start that is not known;
        the due times are then cut to the longest delay that there is."""
        by = 0 if self._now is None else self._now - now
        latest = now + retry.MOST_DELAY_MS
        self._delayed = [(min(due - by, latest), task_id) for due, task_id in self._delayed]
        heapify(self._delayed)

    def next_due(self) -> int | None:
        """When the next delayed task becomes ready; `None` if no task is delayed."""
        while self._delayed and self._delayed[0][1] not in self._delayed_tasks:
            heappop(self._delayed)
        return self._delayed[0][0] if self._delayed else None

    def sub_queues(self, level: ShareLevel = all_equal, lowest: int = 0) -> Iterator[SubQueue]:
        """Yield the sub-queues in the order in which their heads start: the more urgent first (10
        before 1), then those of users with the lower level, then the older.

        Stops below the priority `lowest`. The queue must not change in between.
        """
        for queues in self._equal_queues(level, lowest):
            queues.sort(key=head_of)
            yield from queues

    def entries(self, level: ShareLevel = all_equal) -> Iterator[tuple[SubQueue, QueueEntry]]:
        """Yield every ready task in the order in which they start."""
        for queues in self._equal_queues(level, 0):
            pairs = [(entry, queue) for queue in queues for entry in queue.heap]
            pairs.sort(key=_entry)
            for entry, queue in pairs:
                if self._is_live(entry):
                    yield queue, entry

    def entries_of(self, queue: SubQueue) -> Iterator[QueueEntry]:
        """Yield the tasks of one sub-queue by age; lazy."""
        return (entry for entry, _ in queue.in_order() if self._is_live(entry))

    def first_entries(
        self,
        level: ShareLevel = all_equal,
        lowest: int = 0,
        *,
        without: Collection[str] = frozenset(),
    ) -> Iterator[tuple[SubQueue, QueueEntry]]:
        """As `entries`, for callers that need only the first few; lazy. Tasks of the users
        `without` are left out."""
        for equal in self._equal_queues(level, lowest):
            queues = [queue for queue in equal if queue.user not in without] if without else equal
            for entry, queue in merge(*(queue.in_order() for queue in queues), key=_entry):
                if self._is_live(entry):
                    yield queue, entry

    def first(
        self, count: int, level: ShareLevel = all_equal, user: str | None = None
    ) -> list[QueueEntry]:
        """The first ready tasks in the order in which they start; of one user, or of all (`None`).
        Only as many sub-queues are sorted as can have one of them."""
        first_entries: list[QueueEntry] = []
        for queues in self._equal_queues(level, 0):
            wanted = count - len(first_entries)
            if wanted <= 0:
                break
            own = (queue for queue in queues if user in (None, queue.user))
            nearest = nsmallest(wanted, own, key=head_of)
            entries = merge(*(queue.in_order() for queue in nearest), key=_entry)
            first_entries += islice((entry for entry, _ in entries if self._is_live(entry)), wanted)
        return first_entries

    def first_delayed(self, count: int, user: str | None = None) -> list[str]:
        """Ids of the delayed tasks that are due first; of one user, or of all (`None`)."""
        own = (task for task in self._delayed_tasks.values() if user in (None, task.user))
        return [task.id for task in nsmallest(count, own, key=lambda t: (t.not_before, t.id))]

    def positions(
        self, tasks: Sequence[Task], level: ShareLevel = all_equal
    ) -> Iterator[list[int]]:
        """Count the places of ready tasks of one user, from 1, over the whole queue. Yields the
        counts so far; the last are complete. `tasks`: in the order in which they start. The queue
        may change in between, as for `counts_before`."""
        counts = [1] * len(tasks)
        yield counts
        if not tasks:
            return
        mine, all_before = level(tasks[0].user), 0
        heaps: list[tuple[int, list[QueueEntry], int]] = []
        entries = [entry_of(task) for task in tasks]
        first = 0
        for queues in list(self._equal_queues(level, min(task.spec.priority for task in tasks))):
            priority, size = queues[0].priority, sum(queue.live for queue in queues)
            last = first
            while last < len(tasks) and tasks[last].spec.priority == priority:
                last += 1
            if level(queues[0].user) == mine and last > first:
                heaps += [(first, list(queue.heap), last) for queue in queues]
                for index in range(first, last):
                    counts[index] += all_before
                first = last
            all_before += size
        for begin, heap, end in heaps:
            own = entries[begin:end]
            for start in range(0, len(heap), COUNTED):
                more = [0] * (len(own) + 1)
                for entry in heap[start : start + COUNTED]:
                    if self._is_live(entry):
                        more[bisect_right(own, entry)] += 1
                for index, number in enumerate(accumulate(more[:-1])):
                    counts[begin + index] += number
                yield counts

    def _equal_queues(self, level: ShareLevel, lowest: int) -> Iterator[list[SubQueue]]:
        """Yield the sub-queues of one priority whose users have one level, in that order."""
        for priority in sorted(self._queues, reverse=True):
            if priority < lowest:
                return
            users = self._queues[priority]
            for _, names in groupby(sorted(users, key=level), level):
                yield [queue for name in names for queue in users[name].values()]

    def queue_of(self, task_id: str) -> SubQueue | None:
        """The sub-queue that a task is in; `None` if the task is not ready."""
        return self._queue_of.get(task_id)

    def count_before(self, task: Task, level: ShareLevel = all_equal) -> int:
        """Number of ready tasks before this one. Visits all tasks of its priority."""
        return sum(self.counts_before(task, level))

    def counts_before(self, task: Task, level: ShareLevel = all_equal) -> Iterator[int]:
        """Yield the parts of `count_before`, each over at most COUNTED entries. The queue may
        change between two parts: tasks that come are not counted, nor those that left before."""
        mine, my_level = entry_of(task), level(task.user)
        before = 0
        equal: list[list[QueueEntry]] = []
        for priority, users in self._queues.items():
            if priority < task.spec.priority:
                continue
            for user, queues in users.items():
                theirs = level(user)
                if priority > task.spec.priority or theirs < my_level:
                    before += sum(queue.live for queue in queues.values())
                elif theirs == my_level:
                    equal += [list(queue.heap) for queue in queues.values()]
        yield before
        for heap in equal:
            for first in range(0, len(heap), COUNTED):
                part = heap[first : first + COUNTED]
                yield sum(entry < mine and self._is_live(entry) for entry in part)

    def _enqueue(self, task: Task, since: int = 0) -> None:
        job = None if self.job_of is None else self.job_of(task, self._jobs)
        needs = (task.spec.resources, task.avoid_gpus if task.spec.gpu else (), job)
        shape = self._shapes.get(needs)
        if shape is None:
            shape = self._shapes[needs] = Shape(*needs)
            self._jobs.add(job)
        priority = task.spec.priority
        users = self._queues.get(priority)
        if users is None:
            users = self._queues[priority] = {}
        queues = users.get(task.user)
        if queues is None:
            queues = users[task.user] = {}
        key: object = task.id if task.prestaged else shape
        queue = queues.get(key)
        if queue is None:
            prestaged = task.id if task.prestaged else None
            queue = queues[key] = SubQueue(priority, task.user, shape, prestaged)
        entry = entry_of(task, since)
        heappush(queue.heap, entry)
        queue.live += 1
        shape.waiting += 1
        self._queue_of[task.id] = queue
        self._entry_of[task.id] = entry

    def _uncount(self, user: str) -> None:
        left = self.by_user[user] - 1
        if left:
            self.by_user[user] = left
        else:
            del self.by_user[user]

    def _is_live(self, entry: QueueEntry) -> bool:
        return self._entry_of.get(entry.task_id) is entry


def _entry(pair: tuple[QueueEntry, SubQueue]) -> QueueEntry:
    return pair[0]
