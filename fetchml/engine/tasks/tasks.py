"""Tasks as a caller may see them: one by its id, in lists, explained, waiting in their order."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.attempts.hosts import TaskHost
from fetchml.core import permissions
from fetchml.core.model import Principal, Status, Task
from fetchml.core.requests.listing import range_fault
from fetchml.core.scheduling.scheduler import ShareLevels
from fetchml.core.state import State
from fetchml.engine.estimates import Estimates
from fetchml.engine.explain import explain, tasks_before, waits
from fetchml.engine.slow_reads import SEARCH_TOO_LONG, SlowReads
from fetchml.engine.task_index import TaskIndex
from fetchml.engine.task_lookup import TaskLookup, no_task
from fetchml.errors import BadRequest, Forbidden
from fetchml.pages import PAGE_BYTES, PART_BYTES, PageTooLarge, fitting
from fetchml.ports.store import Store, TaskPage, TaskQuery
from fetchml.system.pacing import Pace
from fetchml.views import Explanation, WaitingList, WaitingTask

DEFAULT_WAITING = 100
"""Tasks in a list of waiting tasks without `limit`."""

_LAST = 1 << 62
"""Sorts tasks without a position behind all others."""


class _Row(NamedTuple):
    task_id: str
    position: int | None


class Tasks:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        lookup: TaskLookup,
        index: TaskIndex,
        store: Store,
        state: State,
        host: TaskHost,
        estimates: Estimates,
        slow_reads: SlowReads,
        *,
        clock: Callable[[], int],
        private: bool,
    ) -> None:
        """`private`: users see only their own tasks."""
        self._lookup = lookup
        self._index = index
        self._store = store
        self._state = state
        self._host = host
        self._estimates = estimates
        self._slow_reads = slow_reads
        self._clock = clock
        self._private = private

    async def get(self, who: Principal, task_id: str) -> Task:
        """Return a task, services and deleted tasks excluded. Raises NotFound."""
        task = await self._lookup.find_seen(who, task_id)
        if task is None or task.hidden or task.service:
            raise no_task(task_id)
        return task

    async def to_change(self, who: Principal, task_id: str) -> Task:
        """Return a task that the caller may change. Raises NotFound, Forbidden."""
        task = await self.get(who, task_id)
        if not permissions.may_change(who, task):
            raise Forbidden("Only the task's owner or an admin may change, end or delete it")
        return task

    def turn_to_list(self, who: Principal, query: TaskQuery) -> AbstractAsyncContextManager[None]:
        """Enter it around `list`, before anything that all callers share is taken: searches
        of one user wait for each other."""
        return (
            self._slow_reads.turn(who.user, SEARCH_TOO_LONG) if query.is_search else nullcontext()
        )

    async def list(self, who: Principal, query: TaskQuery, *, whole: bool = True) -> TaskPage:
        """Raises PageTooLarge where the page can't hold all that the query asks for; with `whole`
        false it then ends early."""
        if not permissions.sees_all(who, private=self._private):
            if query.user not in (None, who.user):
                return TaskPage([], 0)
            query = replace(query, user=who.user)
        most_bytes = PAGE_BYTES if whole else PART_BYTES
        page = self._index.page(query)
        if page is None:
            page = await self._store.list_tasks(replace(query, most_bytes=most_bytes))
        elif (count := await fitting(page.tasks, most_bytes, brief=query.brief)) < len(page.tasks):
            page = replace(page, tasks=page.tasks[:count], cut=True)
        if page.cut and whole:
            raise PageTooLarge(len(page.tasks))
        return page

    async def explain(self, who: Principal, task_id: str) -> Explanation:
        task = await self.get(who, task_id)
        before = await tasks_before(self._state, task, self._clock())
        if before:  # It takes some time in a long queue.
            task = await self.get(who, task_id)
        return await self._explained(who, task, before)

    async def _explained(self, who: Principal, task: Task, before: int) -> Explanation:
        explanation = explain(
            self._state,
            task,
            self._clock(),
            before,
            may_name=lambda other: permissions.may_see(who, other, private=self._private),
            cluster_reason=self._host.reason(task),
            cluster_position=self._host.position(task),
        )
        estimate = await self._estimates.of(task) if waits(task) else None
        return replace(explanation, estimate=estimate)

    async def waiting(self, who: Principal, limit: int | None = None) -> WaitingList:
        """Return the first waiting tasks that `who` may see, in the order in which they start, and
        how many wait. Raises BadRequest."""
        limit = DEFAULT_WAITING if limit is None else limit
        if fault := range_fault("limit", limit):
            raise BadRequest(fault)
        only = None if permissions.sees_all(who, private=self._private) else who.user
        pace = Pace()
        shown = []
        for task_id, position in await self._rows(only, limit):
            task = self._index.get(task_id)
            # Others had their turn, and what is not durable yet is not shown.
            if task is not None and waits(task) and self._is_live(task_id):
                found = await self._explained(who, task, (position or 1) - 1)
                shown.append(WaitingTask(task, found.reason, position, found.estimate))
            if pace.due:
                await pace.rest()
        return WaitingList(shown, self._index.count((Status.QUEUED,), only))

    async def _rows(self, only: str | None, limit: int) -> Sequence[_Row]:
        """The first `limit` tasks, at most, with their positions. Tasks whose retry is
        delayed have none and come later, and last those that may not start now."""
        state = self._state
        # A cluster orders the tasks that it has; others follow those.
        with_cluster = [
            _Row(task_id, self._host.position(state.tasks[task_id]))
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

    def _is_live(self, task_id: str) -> bool:
        state = self._state
        if task_id in state.queue or task_id in state.handed_over or task_id in state.held_back:
            return True
        task = state.tasks.get(task_id)
        return task is not None and state.sweeps.holds_back(task)
