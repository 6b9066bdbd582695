"""Waiting tasks that wait for other tasks, and the conditions that do not hold yet.

A task's end is news for the tasks that wait for it. The news are taken one by one, so that a
decision handles as many as it can afford and leaves the rest to the next one.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from fetchml.core.model import Condition, Dependency, Status


class News(NamedTuple):
    """Effects of a task's end on a task that waits for it."""

    task_id: str
    """The waiting task."""
    on: Dependency
    holds: bool
    is_last: bool
    """Whether no other condition of the task is open."""


def holds(condition: Condition, outcome: Status) -> bool:
    """Whether a condition on a task holds, now that the task has ended."""
    match condition:
        case Condition.COMPLETED:
            return outcome is Status.COMPLETED
        case Condition.FAILED:
            return outcome is Status.FAILED
        case Condition.ENDED:
            return True


class BlockedTasks:
    def __init__(self) -> None:
        self._open: dict[str, dict[str, Condition]] = {}
        """Conditions that do not hold yet, by waiting task and the task that it waits for."""
        self._waiting_for: dict[str, dict[str, None]] = {}
        """Ids of the tasks that wait for a task, in the order in which they began to."""
        self.news: deque[tuple[str, Status]] = deque()
        """Tasks that have ended and that others may wait for, with their outcomes."""

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._open

    def add(self, task_id: str, conditions: Iterable[Dependency]) -> None:
        """Let a task wait; `conditions` is not empty."""
        self._open[task_id] = {each.task_id: each.condition for each in conditions}
        for other in self._open[task_id]:
            self._waiting_for.setdefault(other, {})[task_id] = None

    def remove(self, task_id: str) -> None:
        """Forget a task that waits no more, if it is one."""
        for other in self._open.pop(task_id, ()):
            self._forget(other, task_id)

    def open_conditions(self, task_id: str) -> list[Dependency]:
        return [Dependency(*each) for each in self._open.get(task_id, {}).items()]

    def ended(self, task_id: str, outcome: Status) -> None:
        """Note the end of a task, if others wait for it."""
        if task_id in self._waiting_for:
            self.news.append((task_id, outcome))

    def next_news(self) -> News | None:
        """Return what comes next, and close the condition; `None` if there are no news."""
        while self.news:
            other, outcome = self.news[0]
            waiting = self._waiting_for.get(other)
            if not waiting:
                self.news.popleft()
                continue
            task_id = next(iter(waiting))
            conditions = self._open[task_id]
            on = Dependency(other, conditions.pop(other))
            self._forget(other, task_id)
            if not conditions:
                del self._open[task_id]
            return News(task_id, on, holds(on.condition, outcome), not conditions)
        return None

    def _forget(self, other: str, task_id: str) -> None:
        waiting = self._waiting_for[other]
        del waiting[task_id]
        if not waiting:
            del self._waiting_for[other]
