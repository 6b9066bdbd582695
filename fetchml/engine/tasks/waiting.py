"""The waiting tasks in the order in which they start, each with its reason and its estimate."""

from collections.abc import Callable
from typing import NamedTuple

from fetchml.core import permissions
from fetchml.core.model import Principal, Status, Task
from fetchml.core.requests.listing import range_fault
from fetchml.core.scheduling.scheduler import ShareLevels
from fetchml.core.state import State
from fetchml.engine.estimates import Estimates
from fetchml.engine.explain import explain
from fetchml.engine.task_index import TaskIndex
from fetchml.errors import BadRequest
from fetchml.ports.cluster import Cluster
from fetchml.system.pacing import Pace
from fetchml.views import WaitingList, WaitingTask

DEFAULT_WAITING = 100
"""Tasks in a list without `limit`."""

_LAST = 1 << 62
"""Sorts tasks without a position behind all others."""


class _Row(NamedTuple):
    task_id: str
    position: int | None


class WaitingTasks:
    """Used from one event loop."""

    def __init__(
        self,
        state: State,
        index: TaskIndex,
        estimates: Estimates,
        clock: Callable[[], int],
        *,
        private: bool,
        cluster: Cluster | None = None,
    ) -> None:
        """`private`: users see only their own tasks. `cluster`: `None` if this host runs them."""
        self._cluster = cluster
        self._state = state
        self._index = index
        self._estimates = estimates
        self._clock = clock
        self._private = private

    async def first(self, who: Principal, limit: int | None = None) -> WaitingList:
        """Return the first tasks that `who` may see, and how many wait. Raises BadRequest."""
        limit = DEFAULT_WAITING if limit is None else limit
        if fault := range_fault("limit", limit):
            raise BadRequest(fault)
        only = None if permissions.sees_all(who, private=self._private) else who.user
        pace = Pace()
        shown: list[WaitingTask] = []
        for row in await self._rows(only, limit):
            task = self._index.get(row.task_id)
            # Others had their turn, and what is not durable yet is not shown.
            if task is not None and _waits(task) and self._is_live(row.task_id):
                shown.append(await self._explained(who, task, row.position))
            if pace.due:
                await pace.rest()
        return WaitingList(shown, self._index.count((Status.QUEUED,), only))

    async def _rows(self, only: str | None, limit: int) -> list[_Row]:
        """The first `limit` tasks, at most, with their positions. Tasks whose retry is
        delayed have none and come later, and last those that may not start now."""
        state = self._state
        # A cluster orders the tasks that it has; others follow those.
        with_cluster = [
            _Row(task_id, self._position(task_id))
            for task_id, user in state.handed_over.items()
            if only in (None, user) and task_id not in self._index.services
        ]
        with_cluster.sort(key=lambda row: row.position or _LAST)
        del with_cluster[limit:]
        limit -= len(with_cluster)
        level = ShareLevels(state, self._clock())
        # Services wait in the same queue, and are in no list of tasks.
        first = state.queue.first(limit + len(self._index.services), level, only)
        if only is None:
            places = list(range(1, len(first) + 1))
        else:
            places, pace = [0] * len(first), Pace()
            tasks = [state.tasks[entry.task_id] for entry in first]
            for places in state.queue.positions(tasks, level):  # noqa: B007
                await pace.rest()
        rows = [_Row(entry.task_id, place) for entry, place in zip(first, places, strict=True)]
        rows = [row for row in rows if row.task_id not in self._index.services][:limit]
        if len(rows) < limit:
            delayed = state.queue.first_delayed(limit - len(rows), only)
            rows += [_Row(task_id, None) for task_id in delayed]
        if len(rows) < limit:
            held_back = state.held_back.first(limit - len(rows), only)
            held_back += state.sweeps.first_waiting(limit - len(rows) - len(held_back), only)
            rows += [_Row(task_id, None) for task_id in held_back]
        return with_cluster + rows

    def _position(self, task_id: str) -> int | None:
        """Return the position of a task that was handed over, as the cluster has it."""
        task = self._state.tasks.get(task_id)
        if self._cluster is None or task is None:
            return None
        return self._cluster.position(task.id, task.attempt)

    def _is_live(self, task_id: str) -> bool:
        state = self._state
        if task_id in state.queue or task_id in state.handed_over or task_id in state.held_back:
            return True
        task = state.tasks.get(task_id)
        return task is not None and state.sweeps.holds_back(task)

    async def _explained(self, who: Principal, task: Task, position: int | None) -> WaitingTask:
        explanation = explain(
            self._state,
            task,
            self._clock(),
            (position or 1) - 1,
            may_name=lambda other: permissions.may_see(who, other, private=self._private),
            cluster_reason=self._cluster.reason(task.id, task.attempt) if self._cluster else None,
            cluster_position=position,
        )
        estimate = await self._estimates.of(task)
        return WaitingTask(task, explanation.reason, position, estimate)


def _waits(task: Task) -> bool:
    return task.shown_status is Status.QUEUED and task.cancel is None
