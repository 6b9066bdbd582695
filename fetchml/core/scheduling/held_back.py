"""Waiting tasks that may not start now, whatever is free: held ones, and those whose time has not
come. No pass of the scheduler looks at them."""

from heapq import heapify, heappop, heappush, nsmallest

from fetchml.core.model import Task
from fetchml.core.scheduling.waiting import HeldBack, Postponed

MOST_AT_ONCE = 100
"""Postponed tasks that one decision puts into the queue; the next decision follows at once."""


class HeldBackTasks:
    def __init__(self) -> None:
        self._states: dict[str, HeldBack] = {}
        self._user_of: dict[str, str] = {}
        self.by_user: dict[str, int] = {}
        """Number of each user's tasks; no number is 0."""
        self.by_kind: dict[type[HeldBack], int] = {}
        """Number of tasks by the variant of their state."""
        self.times: list[tuple[int, str]] = []
        """A heap of the times of postponed tasks. Removed tasks may still be in it, and a task that
        was postponed again may be in it more than once."""

    def copy(self) -> "HeldBackTasks":
        """Return a copy that does not change with this one."""
        other = HeldBackTasks()
        other._states = dict(self._states)
        other._user_of = dict(self._user_of)
        other.by_user = dict(self.by_user)
        other.by_kind = dict(self.by_kind)
        other.times = list(self.times)
        return other

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._states

    def get(self, task_id: str) -> HeldBack | None:
        return self._states.get(task_id)

    def add(self, task: Task, state: HeldBack) -> None:
        self._states[task.id] = state
        self._user_of[task.id] = task.user
        self.by_user[task.user] = self.by_user.get(task.user, 0) + 1
        self.by_kind[type(state)] = self.by_kind.get(type(state), 0) + 1
        if isinstance(state, Postponed):
            heappush(self.times, (state.until, task.id))
            if len(self.times) > 2 * len(self._states) + 64:
                self.times = [entry for entry in set(self.times) if self._is_current(*entry)]
                heapify(self.times)

    def remove(self, task_id: str) -> None:
        self.by_kind[type(self._states.pop(task_id))] -= 1
        user = self._user_of.pop(task_id)
        self.by_user[user] -= 1
        if not self.by_user[user]:
            del self.by_user[user]

    def next_due(self) -> int | None:
        """When the next postponed task may start; `None` if none is postponed."""
        while self.times and not self._is_current(*self.times[0]):
            heappop(self.times)
        return self.times[0][0] if self.times else None

    def due(self, now: int) -> list[str]:
        """Ids of postponed tasks whose time has come, at most MOST_AT_ONCE."""
        found: dict[str, None] = {}
        while len(found) < MOST_AT_ONCE and (due := self.next_due()) is not None and due <= now:
            found[heappop(self.times)[1]] = None
        return list(found)

    def first(self, count: int, user: str | None = None) -> list[str]:
        """Ids of the first tasks: by their times, then by age. Of one user, or of all (`None`)."""
        own = (
            (state.until if isinstance(state, Postponed) else 1 << 63, task_id)
            for task_id, state in self._states.items()
            if user in (None, self._user_of[task_id])
        )
        return [task_id for _, task_id in nsmallest(count, own)]

    def _is_current(self, until: int, task_id: str) -> bool:
        state = self._states.get(task_id)
        return isinstance(state, Postponed) and state.until == until
