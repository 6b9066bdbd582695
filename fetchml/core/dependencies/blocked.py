"""Waiting tasks that wait for other tasks or for sweeps, and the conditions that do not hold yet.

A task's end is news for the tasks that wait for it, and so is the end of a sweep, or the first
failure in it. The news are taken one by one, so that a decision handles as many as it can afford
and leaves the rest to the next one. The end of a task costs the same however many tasks wait for
its sweep: what decides their condition is noted once.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fetchml.core.model import Condition, Dependency, Status, Task
from fetchml.core.sweeps.progress import Failures, LiveSweeps, Progress


class News(NamedTuple):
    """Effects of an end on a task that waits for it."""

    task_id: str
    """The waiting task."""
    on: Dependency
    holds: bool
    is_last: bool
    """Whether no other condition of the task is open."""
    failures: Failures | None
    """Of the sweep; `None` if the condition is on a task."""


def holds(condition: Condition, outcome: Status) -> bool:
    """Whether a condition on a task holds, now that the task has ended."""
    match condition:
        case Condition.COMPLETED:
            return outcome is Status.COMPLETED
        case Condition.FAILED:
            return outcome is Status.FAILED
        case Condition.ENDED:
            return True


def sweep_holds(condition: Condition, progress: Progress) -> bool | None:
    """Whether a condition on all tasks of a sweep holds; `None` while that is open."""
    failed = progress.failures.number > 0
    if condition is Condition.COMPLETED and failed:
        return False
    if progress.live:
        return None
    return failed if condition is Condition.FAILED else True


_Key = tuple[str, Condition]
"""The id of a task or of a sweep, and the condition on it."""


@dataclass(slots=True)
class _Group:
    """Tasks with the same news."""

    target: str
    holds: bool
    failures: Failures | None
    waiting: list[str]
    """Their ids, in reverse order. Some may no longer wait."""


class BlockedTasks:
    def __init__(self) -> None:
        self._open: dict[str, dict[str, Dependency]] = {}
        """Conditions that do not hold yet, by waiting task and the task or sweep they are on."""
        self._waiting_for: dict[_Key, dict[str, None]] = {}
        """Ids of the tasks with the same condition, in the order in which they began to wait."""
        self._held: dict[str, dict[str, Dependency]] = {}
        """Conditions on sweeps that hold until a failed task of the sweep is submitted again, by
        sweep and waiting task. The task has other conditions that do not hold yet."""
        self.failures = 0
        """Tasks that failed since the start because a condition can't hold, for metrics."""
        self.news: deque[_Group] = deque()
        """Conditions that were decided and that tasks may wait for."""

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._open

    def block(
        self,
        task: Task,
        live: Mapping[str, Task],
        ended: Mapping[str, Status],
        progress: LiveSweeps,
    ) -> None:
        """Let a task wait for the tasks and sweeps that it names, as far as it has to. `ended`: the
        outcomes of the tasks that have ended."""
        conditions: dict[str, Dependency] = {}
        open_conditions: list[Dependency] = []
        broken: list[Dependency] = []
        for each in task.spec.after or ():
            if not each.task_id:
                decided = sweep_holds(each.condition, progress.of(each.sweep_id))
            elif each.task_id in live:
                decided = None
            else:
                outcome = ended.get(each.task_id)
                decided = outcome is not None and holds(each.condition, outcome)
            if decided:
                open_conditions.append(each)
                continue
            conditions[each.target] = each
            if decided is False:
                broken.append(each)
        if conditions:
            self._open[task.id] = conditions
            for each in open_conditions:
                self._keep(task.id, each)
        for target, each in conditions.items():
            self._waiting_for.setdefault((target, each.condition), {})[task.id] = None
        for each in broken:
            failures = None if each.task_id else progress.of(each.sweep_id).failures
            self._note((each.target, each.condition), holds=False, failures=failures)

    def remove(self, task: Task) -> None:
        """Remove a task that no longer waits, if it is in the set."""
        for target, each in self._open.pop(task.id, {}).items():
            key = (target, each.condition)
            if (waiting := self._waiting_for.get(key)) is not None:
                waiting.pop(task.id, None)
                if not waiting:
                    del self._waiting_for[key]
        for each in task.spec.after or ():
            if (blocked := self._held.get(each.target)) is not None:
                blocked.pop(task.id, None)
                if not blocked:
                    del self._held[each.target]

    def open_conditions(self, task_id: str) -> list[Dependency]:
        return list(self._open.get(task_id, {}).values())

    def ended(self, task_id: str, outcome: Status) -> None:
        """Note the end of a task, if others wait for it."""
        for condition in Condition:
            self._note((task_id, condition), holds=holds(condition, outcome))

    def sweep_changed(self, sweep_id: str, progress: Progress) -> None:
        """Note what the end of one of its tasks decides, if others wait for the sweep."""
        for condition in Condition:
            key = (sweep_id, condition)
            if key in self._waiting_for and (how := sweep_holds(condition, progress)) is not None:
                self._note(key, holds=how, failures=progress.failures)

    def reopen(self, sweep_id: str) -> None:
        """Note that tasks of a sweep are submitted again: what held because all of it had ended is
        open again for tasks that wait on."""
        again = self._held.pop(sweep_id, {})
        for group in self.news:
            if group.target == sweep_id and group.holds:
                again.update((each, self._open[each][sweep_id]) for each in self._still(group))
                group.waiting.clear()
        for task_id, on in again.items():
            self._open[task_id][sweep_id] = on
            self._waiting_for.setdefault((sweep_id, on.condition), {})[task_id] = None

    def _still(self, group: _Group) -> list[str]:
        return [each for each in reversed(group.waiting) if each in self._open]

    def _keep(self, task_id: str, on: Dependency) -> None:
        """Keep a condition that holds, if it may be open again. A sweep that has completed stays
        so."""
        if not on.task_id and on.condition is not Condition.COMPLETED:
            self._held.setdefault(on.sweep_id, {})[task_id] = on

    def _note(self, key: _Key, *, holds: bool, failures: Failures | None = None) -> None:
        """Note that a condition is decided for all that wait for it. `failures`: see News."""
        if (waiting := self._waiting_for.pop(key, None)) is not None:
            self.news.append(_Group(key[0], holds, failures, list(waiting)[::-1]))

    def next_news(self) -> News | None:
        """Return what comes next, and close the condition; `None` if there are no news."""
        while self.news:
            group = self.news[0]
            while group.waiting:
                task_id = group.waiting.pop()
                conditions = self._open.get(task_id)
                if conditions is None:
                    continue  # It has ended since.
                on = conditions.pop(group.target)
                if not conditions:
                    del self._open[task_id]
                elif group.holds:
                    self._keep(task_id, on)
                return News(task_id, on, group.holds, not conditions, group.failures)
            self.news.popleft()
        return None
