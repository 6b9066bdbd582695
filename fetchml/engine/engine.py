"""Operations on tasks, called by both transports: checks permissions, and lets the core decide."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext

from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import deletion, permissions
from fetchml.core.audit import Action
from fetchml.core.deletion import Deletion
from fetchml.core.events import CancelRequested
from fetchml.core.model import ENDED, Principal, Status, Task, User
from fetchml.core.requests.download_names import ArchiveFormat
from fetchml.core.requests.logs import LogRange, LogSearch
from fetchml.core.state import State
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.ended_tasks import EndedTasks
from fetchml.engine.estimates import Estimates
from fetchml.engine.experiments import Experiments
from fetchml.engine.explain import explain, tasks_before
from fetchml.engine.logs import LogReader, LogSearcher
from fetchml.engine.server_information import Diagnosis, ServerInformation
from fetchml.engine.slow_reads import SEARCH_TOO_LONG, SlowReads
from fetchml.engine.status import ServerStatus
from fetchml.engine.submissions import Submissions
from fetchml.engine.sweeps import SweepRanking, Sweeps
from fetchml.engine.task_index import TaskIndex
from fetchml.engine.task_lookup import TaskLookup, VisibleTasks
from fetchml.engine.tasks.changes import TaskChanges
from fetchml.engine.tasks.results import ResultLists
from fetchml.engine.tasks.silent import SilentTasks
from fetchml.engine.tasks.waiting import WaitingTasks
from fetchml.engine.usage.history import UsageHistory
from fetchml.engine.watches.batches import Batches, Scope
from fetchml.engine.watches.watch import Watches
from fetchml.errors import BadRequest, Conflict
from fetchml.files.output_archives import OutputArchives, OutputsArchive
from fetchml.files.reads import OpenedFile
from fetchml.files.task_files import TaskFiles
from fetchml.notifications.notification_service import Notifications
from fetchml.pages import PAGE_BYTES, PART_BYTES, PageTooLarge, fitting
from fetchml.ports.cluster import Cluster
from fetchml.ports.store import Store, TaskPage, TaskQuery
from fetchml.ports.usage_store import TaskHistory
from fetchml.views import (
    Batch,
    Explanation,
    LogChunk,
    LogInfo,
    LogMatches,
    LogStart,
    OutputFile,
    TaskFolder,
    Update,
    ValidatedTask,
    WatchFilter,
)


class Engine:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        *,
        store: Store,
        state: State,
        index: TaskIndex,
        tasks: TaskLookup,
        visible: VisibleTasks,
        changes: TaskChanges,
        waiting: WaitingTasks,
        info: ServerInformation,
        diagnosis: Diagnosis,
        experiments: Experiments,
        watches: Watches,
        batches: Batches,
        files: TaskFiles,
        logs: LogReader,
        log_searcher: LogSearcher,
        archives: OutputArchives,
        estimates: Estimates,
        ended: EndedTasks,
        submissions: Submissions,
        status: ServerStatus,
        usage: UsageHistory,
        slow_reads: SlowReads,
        audit: Audit,
        dispatcher: Dispatcher,
        clock: Callable[[], int],
        private: bool,
        cluster: Cluster | None = None,
        sweeps: Sweeps,
        notifications: Notifications,
    ) -> None:
        """`private`: users see only their own tasks. `cluster`: `None` if this host runs them."""
        self._cluster = cluster
        self.create_task = submissions.create_task
        self.create_tasks = submissions.create_tasks
        self.update_task = changes.update
        self.retry_task = changes.retry
        self.interrupt_task = changes.interrupt
        silent = SilentTasks(visible, dispatcher, cluster, audit=audit, clock=clock)
        self.declare_lost = silent.declare_lost
        self.list_waiting = waiting.first
        self.server_info = info.get
        self.run_doctor = diagnosis.run
        results = ResultLists(experiments, self.list_tasks, files)
        self.experiment_results = results.list
        self.sweeps = sweeps
        self.notifications = notifications
        self.best_of_sweep = SweepRanking(sweeps, store, results, slow_reads).best
        self.status = status
        self._submissions = submissions
        self.usage = usage
        self._slow_reads = slow_reads
        self._store = store
        self._state = state
        self._index = index
        self._tasks = tasks
        self._visible = visible
        self._watches = watches
        self._batches = batches
        self._files = files
        self._logs = logs
        self._log_searcher = log_searcher
        self._archives = archives
        self._estimates = estimates
        self._ended = ended
        self._audit = audit
        self._dispatcher = dispatcher
        self._clock = clock
        self._private = private

    async def validate_task(
        self,
        who: Principal,
        request: Mapping[str, object],
        idempotency_key: str | None = None,
        *,
        with_estimate: bool,
    ) -> ValidatedTask:
        """Check a request as `create_task` does, and keep nothing."""
        task, is_new = await self._submissions.validate_task(who, request, idempotency_key)
        if not with_estimate:
            return ValidatedTask(task, None)
        estimate_of = self._estimates.of_new if is_new else self._estimates.of
        return ValidatedTask(task, await estimate_of(task))

    async def get_task(self, who: Principal, task_id: str) -> Task:
        return await self._visible.get(who, task_id)

    def turn_to_list(self, who: Principal, query: TaskQuery) -> AbstractAsyncContextManager[None]:
        """Enter it around `list_tasks`, before anything that all callers share is taken: searches
        of one user wait for each other."""
        return (
            self._slow_reads.turn(who.user, SEARCH_TOO_LONG) if query.is_search else nullcontext()
        )

    async def list_tasks(self, who: Principal, query: TaskQuery, *, whole: bool = True) -> TaskPage:
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

    async def cancel_task(self, who: Principal, task_id: str) -> Task:
        """The wish is durable on return; a task that has ended stays as it is."""
        task = await self._visible.to_change(who, task_id)
        if task.status in ENDED:
            return task
        durable = self._dispatcher.apply(CancelRequested(self._clock(), task_id, User(who.user)))
        await self._audit.done(who, Action.TASK_CANCEL, task_id)
        await durable
        return await self._tasks.get(task_id)

    async def delete_task(self, who: Principal, task_id: str) -> None:
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

    async def explain_task(self, who: Principal, task_id: str) -> Explanation:
        task = await self.get_task(who, task_id)
        before = await tasks_before(self._state, task, self._clock())
        if before:  # It takes some time in a long queue.
            task = await self.get_task(who, task_id)
        told = explain(
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
        if told.position is None and self._cluster is None:
            return told
        return replace(told, estimate=await self._estimates.of(task))

    async def task_usage(
        self,
        who: Principal,
        task_id: str,
        *,
        since: int | None = None,
        until: int | None = None,
        points: int | None = None,
        attempt: int | None = None,
    ) -> TaskHistory:
        """Return the resources that a task used. Times in milliseconds since the epoch (UTC)."""
        task = await self.get_task(who, task_id)
        return await self.usage.of_task(who, task, since, until, points, attempt)

    async def task_output(self, task: Task) -> str | None:
        """The last 64 KiB of what it wrote; None: nothing yet."""
        return await self._files.output(task)

    def watch(
        self,
        who: Principal,
        where: WatchFilter,
        since: int | None = None,
        *,
        snapshot: bool = False,
        completes: bool = False,
    ) -> AsyncGenerator[Update]:
        """Every change of what `who` may see and `where` lets through, in order: see `Watches`."""

        def wanted(task: Task) -> bool:
            seen = permissions.may_see(who, task, private=self._private)
            return seen and not task.service

        return self._watches.watch(wanted, where, since, snapshot=snapshot, completes=completes)

    def watch_batches(
        self, who: Principal, where: WatchFilter, since: int | None = None
    ) -> AsyncGenerator[Batch | Update]:
        """The same changes as those of `watch`, a few times a second: see `Batches`."""
        user = None if permissions.sees_all(who, private=self._private) else who.user
        return self._batches.watch(Scope(user, where), since)

    def read_logs(
        self,
        who: Principal,
        task_id: str,
        wanted: LogRange = LogRange(),  # noqa: B008  # frozen
        *,
        start: LogStart | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[LogChunk]:
        """Read a range of a log. `start`: where it begins, if `log_start` has found that."""

        async def look_up() -> Task:
            return await self.get_task(who, task_id)

        _check(wanted)
        return self._logs.read(look_up, wanted, start, user=who.user, follow=follow)

    async def log_start(self, who: Principal, task_id: str, wanted: LogRange) -> LogStart:
        """Return where a range of a log begins."""
        _check(wanted)
        return await self._logs.start(await self.get_task(who, task_id), wanted, who.user)

    async def log_info(self, who: Principal, task_id: str, wanted: LogRange) -> LogInfo:
        """Describe a log; the times are those of the range."""
        _check(wanted)
        return await self._log_searcher.info(await self.get_task(who, task_id), wanted)

    async def search_log(self, who: Principal, task_id: str, wanted: LogSearch) -> LogMatches:
        _check(wanted)
        task = await self.get_task(who, task_id)
        return await self._log_searcher.search(task, wanted, who.user)

    async def list_outputs(
        self, who: Principal, task_id: str, folder: str | None = None
    ) -> list[OutputFile]:
        """`folder`: one of TaskFolder; `None` or empty for the outputs."""
        chosen = _folder(folder)
        await self.get_task(who, task_id)
        return await self._files.list_outputs(task_id, who.user, folder=chosen)

    async def open_output(
        self, who: Principal, task_id: str, path: str, folder: str | None = None
    ) -> OpenedFile:
        """`folder` as for `list_outputs`."""
        chosen = _folder(folder)
        await self.get_task(who, task_id)
        return await self._files.open_output(task_id, path, chosen)

    @asynccontextmanager
    async def archive_outputs(
        self, who: Principal, task_id: str, form: str
    ) -> AsyncIterator[OutputsArchive]:
        """Archive all outputs, in the format `zip` or `tar`. It counts as open until the end."""
        if form not in tuple(ArchiveFormat):
            raise BadRequest(f"format: must be one of {', '.join(ArchiveFormat)}")
        task = await self.get_task(who, task_id)
        with self._archives.hold(who.user):
            paths = await self._archives.paths(task_id, who.user)
            name = f"{task.spec.job_name}-{task.id[-8:]}.{form}"
            pieces = self._archives.pieces(task_id, ArchiveFormat(form), paths)
            async with aclosing(pieces):
                yield OutputsArchive(name, pieces)


def _check(wanted: LogRange | LogSearch) -> None:
    """Raises BadRequest."""
    if fault := wanted.fault():
        raise BadRequest(fault)


def _folder(name: str | None) -> TaskFolder:
    """Raises BadRequest."""
    if not name:
        return TaskFolder.OUTPUTS
    if name not in tuple(TaskFolder):
        raise BadRequest(f"folder: must be one of {', '.join(TaskFolder)}")
    return TaskFolder(name)


def _reason(cluster: Cluster, task: Task) -> str | None:
    """Return the cluster's report about a live task."""
    look = cluster.reason if task.shown_status is Status.QUEUED else cluster.trouble
    return look(task.id, task.attempt)
