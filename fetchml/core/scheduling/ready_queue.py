"""The tasks that wait: for their resources (ready), or for their time (delayed).

Ready tasks of one priority, user and shape stand in one line: a decision looks at the heads of
lines, and only as far as it must, never at the whole queue.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, merge
from itertools import groupby

import msgspec

from fetchml.core import retry
from fetchml.core.model import Resources, Task


class QueueEntry(msgspec.Struct, frozen=True, order=True, gc=False):
    """A task's place in its line: the older first."""

    created_at: int
    task_id: str
    ready_at: int


def entry_of(task: Task) -> QueueEntry:
    return QueueEntry(task.created_at, task.id, max(task.created_at, task.not_before))


class Shape:
    """What a task needs in order to start. There is one object for all tasks that need the same."""

    __slots__ = ("avoid", "fits", "resources", "waiting")

    def __init__(self, resources: Resources, avoid: tuple[str, ...]) -> None:
        self.resources = resources
        self.avoid = avoid
        self.waiting = 0
        """Ready tasks of it."""
        self.fits = False
        """A scratch mark of the scheduler."""


class SubQueue:
    """The ready tasks of one priority, user and shape; a task made ready ahead is a line by
    itself. A removed task's turn stays in the heap until it would be next, or until such turns
    are the most of it."""

    __slots__ = ("ahead", "heap", "key", "live", "priority", "shape", "user")

    def __init__(self, priority: int, user: str, shape: Shape, ahead: str | None) -> None:
        self.priority = priority
        self.user = user
        self.shape = shape
        self.ahead = ahead
        """The task, if it is made ready ahead."""
        self.key: object = shape if ahead is None else ahead
        self.heap: list[QueueEntry] = []
        self.live = 0

    @property
    def head(self) -> QueueEntry:
        return self.heap[0]

    def in_turn(self) -> Iterator[tuple[QueueEntry, "SubQueue"]]:
        """Its turns, the older first, those of removed tasks too; the first ones cost little."""
        next_ones = [(self.heap[0], 0)]
        while next_ones:
            turn, place = heappop(next_ones)
            yield turn, self
            for below in (2 * place + 1, 2 * place + 2):
                if below < len(self.heap):
                    heappush(next_ones, (self.heap[below], below))

    def copy(self) -> "SubQueue":
        other = SubQueue(self.priority, self.user, self.shape, self.ahead)
        other.heap = list(self.heap)
        other.live = self.live
        return other

    def tidy(self, is_live: Callable[[QueueEntry], bool]) -> None:
        if len(self.heap) > 2 * self.live + 64:
            self.heap = [turn for turn in self.heap if is_live(turn)]
            heapify(self.heap)
        while self.heap and not is_live(self.heap[0]):
            heappop(self.heap)


def _head(line: SubQueue) -> QueueEntry:
    return line.heap[0]


COUNTED = 5_000
"""Turns that are compared at once: in about a millisecond."""

ShareLevel = Callable[[str], int]
"""A user's place in the order; the lower goes first."""


def all_equal(user: str) -> int:
    return 0


class ReadyQueue:
    def __init__(self) -> None:
        self._lines: dict[int, dict[str, dict[object, SubQueue]]] = {}
        """By priority, user, and the line's own key."""
        self._shapes: dict[tuple[Resources, tuple[str, ...]], Shape] = {}
        self._line_of: dict[str, SubQueue] = {}
        self._turn_of: dict[str, QueueEntry] = {}
        """Of the same tasks. A pair for each would be one more object for the garbage collector."""
        self._by_user: dict[str, int] = {}
        """Waiting tasks, the delayed ones too, without those made ready ahead."""
        self._delayed: list[tuple[int, str]] = []
        """When each delayed task is due, and its id."""
        self._delayed_tasks: dict[str, Task] = {}
        self._now: int | None = None
        """The last `now` of `due`; `None` before the first."""

    def copy(self) -> "ReadyQueue":
        """As it is now, to look along it."""
        other = ReadyQueue()
        other._shapes = dict(self._shapes)
        other._line_of = dict(self._line_of)
        other._turn_of = dict(self._turn_of)
        other._lines = {
            priority: {
                user: {key: line.copy() for key, line in lines.items()}
                for user, lines in users.items()
            }
            for priority, users in self._lines.items()
        }
        other._by_user = dict(self._by_user)
        other._delayed = list(self._delayed)
        other._now = self._now
        other._delayed_tasks = dict(self._delayed_tasks)
        return other

    def __len__(self) -> int:
        return len(self._line_of) + len(self._delayed_tasks)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._line_of or task_id in self._delayed_tasks

    @property
    def shapes(self) -> list[Shape]:
        """Of all ready tasks."""
        return list(self._shapes.values())

    @property
    def highest(self) -> int:
        """The priority of the most urgent ready tasks; 0: there are none."""
        return max(self._lines, default=0)

    def ready_users(self) -> set[str]:
        return {user for users in self._lines.values() for user in users}

    def queued_by(self, user: str) -> int:
        return self._by_user.get(user, 0)

    def add(self, task: Task, now: int) -> None:
        if not task.prestaged:
            self._by_user[task.user] = self._by_user.get(task.user, 0) + 1
        if task.not_before > now and not task.prestaged:
            self._delayed_tasks[task.id] = task
            heappush(self._delayed, (task.not_before, task.id))
            return
        self._stand(task)

    def remove(self, task_id: str) -> None:
        delayed = self._delayed_tasks.pop(task_id, None)
        if delayed is not None:
            self._count_less(delayed.user)
            return
        line = self._line_of.pop(task_id, None)
        if line is None:
            return
        del self._turn_of[task_id]
        line.live -= 1
        line.shape.waiting -= 1
        if line.ahead is None:
            self._count_less(line.user)
        if not line.shape.waiting:
            del self._shapes[line.shape.resources, line.shape.avoid]
        if line.live:
            line.tidy(self._is_live)
            return
        users = self._lines[line.priority]
        lines = users[line.user]
        del lines[line.key]
        if not lines:
            del users[line.user]
        if not users:
            del self._lines[line.priority]

    def due(self, now: int, elapsed: int = 0) -> None:
        """Tasks whose time has come join the ready ones: what is due at `now` at the latest, and
        what was due at `elapsed`, if a timer has measured that.

        Where `now` has gone back, all delayed tasks wait as long as was left to them.
        """
        self._stand_until(elapsed)
        if self._now is None or now < self._now:
            self._move_back(now)
        self._now = now
        self._stand_until(now)

    def _stand_until(self, time: int) -> None:
        while self._delayed and self._delayed[0][0] <= time:
            _, task_id = heappop(self._delayed)
            task = self._delayed_tasks.pop(task_id, None)
            if task is not None:
                self._stand(task)

    def _move_back(self, now: int) -> None:
        """No delay is longer than the longest: how far the clock went back while no server ran is
        not known."""
        by = 0 if self._now is None else self._now - now
        latest = now + retry.MOST_DELAY_MS
        self._delayed = [(min(due - by, latest), task_id) for due, task_id in self._delayed]
        heapify(self._delayed)

    def next_due(self) -> int | None:
        """When the next delayed task becomes ready."""
        while self._delayed and self._delayed[0][1] not in self._delayed_tasks:
            heappop(self._delayed)
        return self._delayed[0][0] if self._delayed else None

    def in_order(self, level: ShareLevel = all_equal, lowest: int = 0) -> Iterator[SubQueue]:
        """The lines, by the turn of their heads: the more urgent first (10 before 1), then those
        whose user has the lower level, then the older. `lowest`: the last priority to look at.
        What is taken out of the queue meanwhile ends the walk."""
        for lines in self._equal_lines(level, lowest):
            lines.sort(key=_head)
            yield from lines

    def entries(self, level: ShareLevel = all_equal) -> Iterator[tuple[SubQueue, QueueEntry]]:
        """All ready tasks in the order of `in_order`, each of them."""
        for lines in self._equal_lines(level, 0):
            pairs = [(turn, line) for line in lines for turn in line.heap]
            pairs.sort(key=_turn)
            for turn, line in pairs:
                if self._is_live(turn):
                    yield line, turn

    def entries_of(self, line: SubQueue) -> Iterator[QueueEntry]:
        """Of the tasks in one line, the older first; the first ones cost little."""
        return (turn for turn, _ in line.in_turn() if self._is_live(turn))

    def first_entries(
        self, level: ShareLevel = all_equal, lowest: int = 0
    ) -> Iterator[tuple[SubQueue, QueueEntry]]:
        """As `turns`, for who needs few of them: looks no further than it must."""
        for lines in self._equal_lines(level, lowest):
            for turn, line in merge(*(line.in_turn() for line in lines), key=_turn):
                if self._is_live(turn):
                    yield line, turn

    def _equal_lines(self, level: ShareLevel, lowest: int) -> Iterator[list[SubQueue]]:
        """Those of one priority whose users have the same level, in the order of both."""
        for priority in sorted(self._lines, reverse=True):
            if priority < lowest:
                return
            users = self._lines[priority]
            for _, names in groupby(sorted(users, key=level), level):
                yield [line for name in names for line in users[name].values()]

    def queue_of(self, task_id: str) -> SubQueue | None:
        """None: it is not ready."""
        return self._line_of.get(task_id)

    def count_before(self, task: Task, level: ShareLevel = all_equal) -> int:
        """How many ready tasks come before this one. Looks at all of its priority."""
        return sum(self.counts_before(task, level))

    def counts_before(self, task: Task, level: ShareLevel = all_equal) -> Iterator[int]:
        """The parts of `ahead_of`, each of at most COUNTED turns: the queue may change in between.
        Tasks that come meanwhile are not counted, nor those that leave before their part."""
        mine, my_level = entry_of(task), level(task.user)
        before = 0
        equal: list[list[QueueEntry]] = []
        for priority, users in self._lines.items():
            if priority < task.spec.priority:
                continue
            for user, lines in users.items():
                theirs = level(user)
                if priority > task.spec.priority or theirs < my_level:
                    before += sum(line.live for line in lines.values())
                elif theirs == my_level:
                    equal += [list(line.heap) for line in lines.values()]
        yield before
        for heap in equal:
            for first in range(0, len(heap), COUNTED):
                part = heap[first : first + COUNTED]
                yield sum(turn < mine and self._is_live(turn) for turn in part)

    def size_in_memory(self) -> int:
        """Turns kept, those of removed tasks included."""
        return sum(
            len(line.heap)
            for users in self._lines.values()
            for lines in users.values()
            for line in lines.values()
        )

    def _stand(self, task: Task) -> None:
        needs = (task.spec.resources, task.avoid_gpus if task.spec.gpu else ())
        shape = self._shapes.get(needs)
        if shape is None:
            shape = self._shapes[needs] = Shape(*needs)
        lines = self._lines.setdefault(task.spec.priority, {}).setdefault(task.user, {})
        key: object = task.id if task.prestaged else shape
        line = lines.get(key)
        if line is None:
            ahead = task.id if task.prestaged else None
            line = lines[key] = SubQueue(task.spec.priority, task.user, shape, ahead)
        turn = entry_of(task)
        heappush(line.heap, turn)
        line.live += 1
        shape.waiting += 1
        self._line_of[task.id] = line
        self._turn_of[task.id] = turn

    def _count_less(self, user: str) -> None:
        left = self._by_user[user] - 1
        if left:
            self._by_user[user] = left
        else:
            del self._by_user[user]

    def _is_live(self, turn: QueueEntry) -> bool:
        return self._turn_of.get(turn.task_id) is turn


def _turn(pair: tuple[QueueEntry, SubQueue]) -> QueueEntry:
    return pair[0]
