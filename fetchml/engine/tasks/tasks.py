"""Tasks as a caller may see and end them: listed, explained, cancelled, deleted."""

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, nullcontext

from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import deletion, permissions
from fetchml.core.audit import Action
from fetchml.core.deletion import Deletion
from fetchml.core.events import CancelRequested
from fetchml.core.model import ENDED, Principal, Status, Task, User
from fetchml.core.state import State
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.ended_tasks import EndedTasks
from fetchml.engine.estimates import Estimates
from fetchml.engine.explain import explain, tasks_before
from fetchml.engine.slow_reads import SEARCH_TOO_LONG, SlowReads
from fetchml.engine.task_index import TaskIndex
from fetchml.engine.task_lookup import TaskLookup, VisibleTasks
from fetchml.errors import Conflict
from fetchml.files.task_files import TaskFiles
from fetchml.pages import PAGE_BYTES, PART_BYTES, PageTooLarge, fitting
from fetchml.ports.cluster import Cluster
from fetchml.ports.store import Store, TaskPage, TaskQuery
from fetchml.views import Explanation


class Tasks:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        state: State,
        index: TaskIndex,
        tasks: TaskLookup,
        visible: VisibleTasks,
        ended: EndedTasks,
        files: TaskFiles,
        *,
        estimates: Estimates,
        slow_reads: SlowReads,
        dispatcher: Dispatcher,
        audit: Audit,
        clock: Callable[[], int],
        private: bool,
        cluster: Cluster | None = None,
    ) -> None:
        """`private`: users see only their own tasks. `cluster`: `None` if this host runs them."""
        self._store = store
        self._state = state
        self._index = index
        self._tasks = tasks
        self._visible = visible
        self._ended = ended
        self._files = files
        self._estimates = estimates
        self._slow_reads = slow_reads
        self._dispatcher = dispatcher
        self._audit = audit
        self._clock = clock
        self._private = private
        self._cluster = cluster

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

    async def cancel(self, who: Principal, task_id: str) -> Task:
        """The wish is durable on return; a task that has ended stays as it is."""
        task = await self._visible.to_change(who, task_id)
        if task.status in ENDED:
            return task
        durable = self._dispatcher.apply(CancelRequested(self._clock(), task_id, User(who.user)))
        await self._audit.done(who, Action.TASK_CANCEL, task_id)
        await durable
        return await self._tasks.get(task_id)

    async def delete(self, who: Principal, task_id: str) -> None:
        """The contract's DELETE: cancels a live task, deletes one that has ended."""
        # First: only callers that may change the task wait for its lock.
        await self._visible.to_change(who, task_id)
        async with self._ended.locks.hold(("delete", task_id)):
            task = await self._visible.to_change(who, task_id)
            now = self._clock()
            match deletion.meaning(task, now):
                case Deletion.CANCEL:
                    durable = self._dispatcher.apply(CancelRequested(now, task_id, User(who.user)))
                    await self._audit.done(who, Action.TASK_CANCEL, task_id)
                    await durable
                case Deletion.HIDE:
                    if self._ended.is_needed(task_id):
                        users = self._ended.users_of(task_id)
                        raise Conflict(self._needed_by(who, users))
                    durable = self._ended.hide([task])
                    await self._audit.done(who, Action.TASK_DELETE, task_id)
                    await durable
                    await self._files.remove(task_id)
                case Deletion.NOTHING:
                    pass

    def _needed_by(self, who: Principal, users: Collection[str]) -> str:
        tasks = (self._state.tasks[task_id] for task_id in sorted(users))
        seen = [t.id for t in tasks if permissions.may_see(who, t, private=self._private)]
        name = f"Task {seen[0]}" if seen else "Another task"
        return f"{name} gets its outputs as inputs: delete it when that one has ended"

    async def explain(self, who: Principal, task_id: str) -> Explanation:
        task = await self._visible.get(who, task_id)
        before = await tasks_before(self._state, task, self._clock())
        if before:  # It takes some time in a long queue.
            task = await self._visible.get(who, task_id)
        explanation = explain(
            self._state,
            task,
            self._clock(),
            before,
            cluster_reason=None if self._cluster is None else _reason(self._cluster, task),
            cluster_position=self._cluster.position(task.id, task.attempt)
            if self._cluster is not None
            else None,
            may_name=lambda other: permissions.may_see(who, other, private=self._private),
        )
        if explanation.position is None and self._cluster is None:
            return explanation
        return replace(explanation, estimate=await self._estimates.of(task))


def _reason(cluster: Cluster, task: Task) -> str | None:
    """Return the cluster's report about a live task."""
    if task.shown_status is Status.QUEUED:
        return cluster.reason(task.id, task.attempt)
    return cluster.trouble(task.id, task.attempt)
