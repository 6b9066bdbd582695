"""Limits on a sweep's tasks under way: `max_parallel`.

A sweep with a limit has that many slots. A task takes one before it joins the queue, and keeps it
until its end, through retries and preemption; a hold releases it. Tasks without a slot wait
outside of the queue, the more urgent first and then the older, so that the cost of a decision does
not grow with them.
"""

from heapq import heappop, heappush, nsmallest

from fetchml.core.model import SweepMember, Task


def limited(member: SweepMember | None) -> SweepMember | None:
    """The same if its sweep limits how many tasks are under way, else `None`."""
    return member if member is not None and member.max_parallel else None


_Entry = tuple[int, int, str]
"""Priority (negative), time of creation and id."""


class _Slots:
    """The tasks of one sweep."""

    __slots__ = ("heap", "most", "taken", "user", "waiting")

    def __init__(self, user: str, most: int) -> None:
        self.user = user
        self.most = most
        self.taken: dict[str, int] = {}
        """Since when each of the tasks has its place that have one, by id."""
        self.waiting: dict[str, _Entry] = {}
        self.heap: list[_Entry] = []
        """Entries of tasks that left, or have another priority now, may still be in it."""

    def copy(self) -> "_Slots":
        other = _Slots(self.user, self.most)
        other.taken = dict(self.taken)
        other.waiting = dict(self.waiting)
        other.heap = list(self.heap)
        return other

    def next(self, now: int) -> str | None:
        """Give a place to the next task, and return its id."""
        while len(self.taken) < self.most and self.heap:
            entry = heappop(self.heap)
            if self.waiting.get(entry[2]) == entry:
                del self.waiting[entry[2]]
                self.taken[entry[2]] = now
                return entry[2]
        return None


class SweepLimits:
    """All sweeps with a limit that have live tasks."""

    def __init__(self) -> None:
        self._sweeps: dict[str, _Slots] = {}
        self.waiting_by_user: dict[str, int] = {}
        """Number of each user's tasks that wait for a place; no number is 0."""
        self.changed: set[str] = set()
        """Sweeps with a free place."""
        self._held_back = 0

    def copy(self) -> "SweepLimits":
        other = SweepLimits()
        other._sweeps = {sweep_id: slots.copy() for sweep_id, slots in self._sweeps.items()}
        other.waiting_by_user = dict(self.waiting_by_user)
        other.changed = set(self.changed)
        other._held_back = self._held_back
        return other

    def __len__(self) -> int:
        """Number of tasks that wait for a place."""
        return self._held_back

    def holds_back(self, task: Task) -> bool:
        """Whether the task waits for a place."""
        member = task.spec.sweep
        slots = self._sweeps.get(member.id) if member is not None else None
        return slots is not None and task.id in slots.waiting

    def first_waiting(self, count: int, user: str | None = None) -> list[str]:
        """Ids of the tasks that are next in their sweeps; of one user, or of all (`None`)."""
        task_ids: list[str] = []
        for slots in self._sweeps.values():
            if slots.waiting and (user is None or slots.user == user):
                task_ids += [
                    entry[2] for entry in nsmallest(count - len(task_ids), slots.waiting.values())
                ]
            if len(task_ids) >= count:
                break
        return task_ids

    def active(self, member: SweepMember) -> int:
        """Number of tasks of the sweep that have a place."""
        slots = self._sweeps.get(member.id)
        return 0 if slots is None else len(slots.taken)

    def take(self, task: Task, member: SweepMember) -> None:
        """Give a slot to a task that has begun before, regardless of the limit."""
        self._slots(task, member).taken[task.id] = 0

    def admit(self, task: Task, member: SweepMember, now: int) -> int | None:
        """Since when a task that begins to wait has a place; `None` if it waits for one."""
        slots = self._slots(task, member)
        if task.id in slots.taken:
            return slots.taken[task.id]
        if len(slots.taken) < slots.most and not slots.waiting:
            slots.taken[task.id] = now
            return now
        if task.id not in slots.waiting:
            self._held_back += 1
            self.waiting_by_user[task.user] = self.waiting_by_user.get(task.user, 0) + 1
        self._enter(slots, task)
        if len(slots.taken) < slots.most:
            self.changed.add(member.id)
        return None

    def leave(self, task: Task, member: SweepMember) -> None:
        """The task has ended, or may not start now."""
        slots = self._slots(task, member)
        slots.taken.pop(task.id, None)
        if slots.waiting.pop(task.id, None) is not None:
            self._uncount(task.user)
        if slots.waiting:
            self.changed.add(member.id)
        elif not slots.taken:
            del self._sweeps[member.id]
            self.changed.discard(member.id)

    def next(self, now: int) -> list[str]:
        """Give the free slots to the next tasks, and return their ids."""
        task_ids: list[str] = []
        while self.changed:
            slots = self._sweeps[self.changed.pop()]
            while (task_id := slots.next(now)) is not None:
                task_ids.append(task_id)
        return task_ids

    def admitted(self, task: Task) -> None:
        """A task that `next` returned has joined the queue."""
        self._uncount(task.user)

    def _enter(self, slots: _Slots, task: Task) -> None:
        entry = (-task.spec.priority, task.created_at, task.id)
        slots.waiting[task.id] = entry
        if len(slots.heap) > 2 * len(slots.waiting) + 64:
            slots.heap = sorted(slots.waiting.values())
        else:
            heappush(slots.heap, entry)

    def _slots(self, task: Task, member: SweepMember) -> _Slots:
        slots = self._sweeps.get(member.id)
        if slots is None:
            slots = self._sweeps[member.id] = _Slots(task.user, member.max_parallel)
        return slots

    def _uncount(self, user: str) -> None:
        self._held_back -= 1
        left = self.waiting_by_user[user] - 1
        if left:
            self.waiting_by_user[user] = left
        else:
            del self.waiting_by_user[user]
