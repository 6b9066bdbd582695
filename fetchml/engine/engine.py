"""The engine's verbs: what both transports call. Decides who may, lets the core decide what."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import BinaryIO

from msgspec.structs import replace

from fetchml.attempts.manager import AttemptManager, AttemptSettings, PrestageCounts
from fetchml.attempts.staging import Inputs
from fetchml.auth.audit import Audit
from fetchml.core import deletion, permissions, quotas
from fetchml.core.audit import Action
from fetchml.core.deletion import Deletion
from fetchml.core.events import CancelRequested, DrainRequested, Event, LauncherChanged, Recovered
from fetchml.core.model import ENDED, Change, Principal, Role, Task, User
from fetchml.core.requests import dataset, images, submission
from fetchml.core.scheduling.estimate import Calibration
from fetchml.core.state import Limits, State
from fetchml.engine.daily_counts import DailyCounts, day_of
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.ended_tasks import EndedTasks
from fetchml.engine.estimates import Estimates
from fetchml.engine.explain import explain, tasks_before
from fetchml.engine.gpus import Gpus
from fetchml.engine.log_follow import LogReader
from fetchml.engine.run_times import RunTimes
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.engine.share_store import ShareStore
from fetchml.engine.submissions import Submissions
from fetchml.engine.task_index import RECENT, RECENT_BYTES
from fetchml.engine.watch import watch
from fetchml.errors import Forbidden, NotFound
from fetchml.files.folder_events import FolderEvents
from fetchml.files.storage_monitor import MonitoredTasks
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_files import TaskFiles
from fetchml.pages import PAGE_BYTES, PART_BYTES, PageTooLarge
from fetchml.ports.launcher import Launcher
from fetchml.ports.store import Store, TaskPage, TaskQuery
from fetchml.system.clock import Clock
from fetchml.system.ids import IdSequence
from fetchml.views import (
    Explanation,
    GpuUse,
    Health,
    HealthStatus,
    LogChunk,
    OutputFile,
    QueueStats,
    QueueUse,
    Update,
    WatchFilter,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    data_dir: Path
    limits: Limits
    defaults: submission.Defaults
    runs: AttemptSettings
    private: bool
    zone: tzinfo
    dataset_schemes: tuple[str, ...] = dataset.SCHEMES
    dataset_addresses: dataset.AddressRules = dataset.PUBLIC_ADDRESSES
    allow_images: tuple[str, ...] = images.ANY


class Engine:
    """Start it with `start`; then every verb may be called until `close`.

    Verbs raise `errors.RequestError` for what a client must be told.
    """

    _writer: Dispatcher
    _runs: AttemptManager
    _logs: LogReader
    _estimates: Estimates

    def __init__(
        self,
        store: Store,
        launcher: Launcher,
        inputs: Inputs,
        watch_folders: FolderEvents,
        settings: EngineSettings,
        *,
        gpus: Gpus,
        takes_tasks: Callable[[Principal, str], bool],
        audit: Audit,
        usage: StorageUsage,
        on_fatal: Callable[[Exception], None],
    ) -> None:
        """`takes_tasks`: whether a user may submit to the experiment with this id. `on_fatal`: the
        store has failed; end the program, and do not call `close`."""
        self._store = store
        self._launcher = launcher
        self._inputs = inputs
        self._watch_folders = watch_folders
        self._settings = settings
        self._gpus = gpus
        self._audit = audit
        self._usage = usage
        self._on_fatal = on_fatal
        self._files = TaskFiles(settings.data_dir)
        self._ids = IdSequence()
        self._clock = Clock()
        self._intake = intake = Submissions(
            store,
            inputs,
            settings.defaults,
            settings.dataset_schemes,
            settings.dataset_addresses,
            settings.allow_images,
            takes_tasks=takes_tasks,
            find=self._find,
            require_storage=usage.require_room,
        )
        self.ended = EndedTasks(self._files, usage, self._find)
        self.services = ServiceTasks(
            store,
            self._files,
            intake.require_room,
            intake.require_quota,
            settings.defaults.limits,
        )
        self._launcher_says = "it has not answered yet"
        self._recovered = asyncio.Event()
        self._welcome: asyncio.Task[None] | None = None
        self._saving_shares: asyncio.Task[None] | None = None
        self._failed = False

    async def start(self) -> None:
        """Open the store, find what runs, go on. Raises what the store's and launcher's `open`
        raise."""
        restored = await self._store.open(
            recent_limit=RECENT,
            recent_bytes=RECENT_BYTES,
            on_fatal=self._fatal,
        )
        self._store.subscribe(self._on_durable)
        self._usage.load(await self._store.kept_by_user())
        self._clock = Clock(restored.last_created_at)
        self._ids = IdSequence(restored.last_created_at)
        today = day_of(self._clock(), self._settings.zone)
        tally = DailyCounts(self._settings.zone, today, *await self._store.ended_on(today))
        self._runs = AttemptManager(
            self._launcher,
            self._inputs,
            self._files,
            self._watch_folders,
            self._settings.runs,
            clock=self._clock,
            report=self._report,
            check_gpus=self._gpus.check,
            gpu_failure=self._gpus.failure,
        )
        limits = self._settings.limits
        self._shares = ShareStore(self._store, self._clock)
        state = State.restore(
            limits, restored.live, shares=await self._shares.load(restored, limits)
        )
        run_times = RunTimes(task for tasks in restored.recent.values() for task in tasks)
        self._estimates = Estimates(state, run_times, self._clock)
        self._writer = Dispatcher(
            state,
            restored,
            self._store,
            tally,
            clock=self._clock,
            act=self._runs.act,
            service_changed=self.services.tell,
        )
        self._intake.open(self._writer, self._ids, self._clock)
        self.services.open(self._writer, self._ids, self._clock)
        self.ended.open(self._writer, self._clock)
        self._logs = LogReader(self._files, self._watch_folders, self._writer.feed)
        await self._inputs.open(self._attempts_held())
        await self._launcher.open(restored.instance_id, self._launcher_changed)
        await self._writer.apply(Recovered(self._clock()))
        self._recovered.set()
        await self._gpus.open(state, self._clock, self._report)
        self._saving_shares = asyncio.create_task(self._shares.save_at_times(state.shares))

    async def drain(self) -> None:
        """Take nothing new, end all watches and log readers; what runs goes on."""
        await self._writer.apply(DrainRequested(self._clock()))
        await self._shares.save(self._writer.state.shares)
        self._writer.close()

    async def close(self) -> None:
        if self._welcome is not None:
            self._welcome.cancel()
        if self._saving_shares is not None:
            self._saving_shares.cancel()
        await self._runs.close()
        await self._gpus.close()
        await self._launcher.close()
        await self._store.close()

    async def create_task(
        self, who: Principal, request: Mapping[str, object], idempotency_key: str | None = None
    ) -> Task:
        """Durable on return. A repeated `idempotency_key` gives the task that it gave before."""
        return await self._intake.create_task(who, request, idempotency_key)

    async def create_tasks(
        self,
        who: Principal,
        requests: Sequence[Mapping[str, object]],
        idempotency_keys: Sequence[str | None] = (),
    ) -> list[Task]:
        """All or none, in one durable commit; each repeated key gives the task it gave before."""
        return await self._intake.create_tasks(who, requests, idempotency_keys)

    async def get_task(self, who: Principal, task_id: str) -> Task:
        task = await self._find(task_id)
        seen = permissions.may_see(who, task, private=self._settings.private)
        if task.hidden or task.service or not seen:
            raise _no_task(task_id)
        return task

    async def list_tasks(self, who: Principal, query: TaskQuery, *, whole: bool = True) -> TaskPage:
        """Raises PageTooLarge where the page can't hold all that the query asks for; with `whole`
        false it then ends early."""
        if self._settings.private and who.role is not Role.ADMIN:
            if query.user not in (None, who.user):
                return TaskPage([], 0)
            query = replace(query, user=who.user)
        query = replace(query, most_bytes=PAGE_BYTES if whole else PART_BYTES)
        page = self._writer.catalog.page(query)
        if page is None:
            page = await self._store.list_tasks(query)
        if page.cut and whole:
            raise PageTooLarge(len(page.tasks))
        return page

    async def cancel_task(self, who: Principal, task_id: str) -> Task:
        """The wish is durable on return; a task that has ended stays as it is."""
        task = await self._find_to_end(who, task_id)
        if task.status in ENDED:
            return task
        durable = self._writer.apply(CancelRequested(self._clock(), task_id, User(who.user)))
        await self._audit.done(who, Action.TASK_CANCEL, task_id)
        await durable
        return await self._find(task_id)

    async def delete_task(self, who: Principal, task_id: str) -> None:
        """The contract's DELETE: cancels a live task, deletes one that has ended."""
        async with self.ended.locks.hold(("delete", task_id)):
            task = await self._find_to_end(who, task_id)
            now = self._clock()
            match deletion.meaning(task, now):
                case Deletion.CANCEL:
                    durable = self._writer.apply(CancelRequested(now, task_id, User(who.user)))
                    await self._audit.done(who, Action.TASK_CANCEL, task_id)
                    await durable
                case Deletion.HIDE:
                    durable = self.ended.hide([task])
                    await self._audit.done(who, Action.TASK_DELETE, task_id)
                    await durable
                    await self._files.remove(task_id)
                case Deletion.NOTHING:
                    pass

    @property
    def draining(self) -> bool:
        """Nothing new is taken: the server is about to end."""
        return self._writer.state.draining

    async def queue_stats(self, who: Principal) -> QueueStats:
        completed, failed = self._writer.tally.today(self._clock())
        state = self._writer.state
        return QueueStats(
            queued=self._writer.catalog.waiting,
            running=self._writer.catalog.holding,
            completed=completed,
            failed=failed,
            workers=int(state.launcher_available and not state.draining),
        )

    @property
    def ahead_counts(self) -> PrestageCounts:
        """What making ready ahead has come to since the server's start."""
        return self._runs.counts

    async def explain_task(self, who: Principal, task_id: str) -> Explanation:
        task = await self.get_task(who, task_id)
        before = await tasks_before(self._writer.state, task, self._clock())
        if before:  # It takes some time in a long queue.
            task = await self.get_task(who, task_id)
        told = explain(
            self._writer.state,
            task,
            self._clock(),
            before,
            may_name=lambda other: permissions.may_see(who, other, private=self._settings.private),
        )
        if told.position is None:
            return told
        return replace(told, estimate=await self._estimates.of(task))

    @property
    def queue_use(self) -> QueueUse:
        most = quotas.MAX_LIVE_BYTES
        return QueueUse(self._writer.state.live_bytes, most, self._intake.refused)

    @property
    def calibration(self) -> Calibration:
        """How well estimates have held since the server's start."""
        return self._estimates.calibration

    def gpu_use(self, who: Principal) -> list[GpuUse]:
        """Of tasks that hold GPUs now."""
        state, now = self._writer.state, self._clock()
        held = [(state.tasks[task_id], held.gpu) for task_id, held in state.held.items()]
        return [
            GpuUse(task.id, task.user, count * (now - task.allocated_at) / 1000)
            for task, count in held
            if count
            and task.allocated_at is not None
            and permissions.may_see(who, task, private=self._settings.private)
        ]

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
        """Every change of what `who` may see and `where` lets through, in order (see `watching`).

        `since` None: from now on, after the live tasks as they are now if `snapshot`. `completes`:
        with a message of its own for the end of a task.
        """

        def wanted(task: Task) -> bool:
            seen = permissions.may_see(who, task, private=self._settings.private)
            return seen and not task.service

        return watch(
            self._writer,
            self._store,
            self._clock,
            wanted,
            where,
            since,
            snapshot=snapshot,
            completes=completes,
        )

    def read_logs(
        self,
        who: Principal,
        task_id: str,
        *,
        offset: int = 0,
        attempt: int | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[LogChunk]:
        async def look_up() -> Task:
            return await self.get_task(who, task_id)

        return self._logs.read(look_up, offset=offset, attempt=attempt, follow=follow)

    async def list_outputs(self, who: Principal, task_id: str) -> list[OutputFile]:
        await self.get_task(who, task_id)
        return await self._files.list_outputs(task_id, who.user)

    async def open_output(self, who: Principal, task_id: str, path: str) -> BinaryIO:
        await self.get_task(who, task_id)
        return await self._files.open_output(task_id, path)

    @property
    def watched(self) -> MonitoredTasks:
        """What the watch over the disk may ask and do. Once the engine has started."""

        def under_way() -> list[Task]:
            return list(self._writer.state.under_way())

        async def find(task_id: str) -> Task | None:
            known = self._writer.state.tasks.get(task_id) or self._writer.catalog.get(task_id)
            return known or await self._store.get(task_id)

        return MonitoredTasks(
            under_way=under_way,
            attempt=lambda task: self._files.attempt(task.id, task.attempt),
            end=lambda task_id, by: self._writer.apply(CancelRequested(self._clock(), task_id, by)),
            find=find,
            remove_outputs=self._files.remove_outputs,
            remove=self._files.remove,
        )

    def named_snapshots(self, user: str | None = None) -> frozenset[str]:
        """Those that live tasks run, of one user or of all: to be kept."""
        return frozenset(
            task.spec.snapshot_id
            for task in self._writer.state.tasks.values()
            if task.spec.snapshot_id is not None and user in (None, task.user)
        )

    def health(self) -> Health:
        if self._failed:
            return Health(HealthStatus.UNHEALTHY, ("the store has failed",), accepts_work=False)
        if not self._store.has_room():
            return Health(HealthStatus.UNHEALTHY, ("the disk is nearly full",), accepts_work=False)
        if self.draining:
            return Health(HealthStatus.DEGRADED, ("shutting down",), accepts_work=False)
        if not self._writer.state.launcher_available:
            return Health(HealthStatus.DEGRADED, (self._launcher_says,))
        return Health(HealthStatus.HEALTHY)

    async def _find(self, task_id: str) -> Task:
        task = self._writer.catalog.get(task_id) or await self._store.get(task_id)
        if task is None:
            raise _no_task(task_id)
        return task

    async def _find_to_end(self, who: Principal, task_id: str) -> Task:
        task = await self.get_task(who, task_id)
        if not permissions.may_end(who, task):
            raise Forbidden("Only the task's owner or an admin may end or delete it")
        return task

    def _report(self, event: Event) -> asyncio.Future[None]:
        return self._writer.apply(event)

    def _on_durable(self, changes: Sequence[Change]) -> None:
        self._writer.on_durable(changes)
        for change in changes:
            self._estimates.learn(change)
            self._usage.task_changed(change)

    def _launcher_changed(self, available: bool, says: str) -> None:
        self._launcher_says = says
        log.info("launcher %s: %s", "available" if available else "away", says)
        if self._welcome is not None:
            self._welcome.cancel()
        if available:
            self._welcome = asyncio.create_task(self._welcome_launcher())
        else:
            self._writer.apply(LauncherChanged(self._clock(), available=False))

    async def _welcome_launcher(self) -> None:
        """Nothing new starts before the leftovers are gone: they may hold what it needs."""
        await self._recovered.wait()
        try:
            await self._launcher.clean(self._attempts_held())
        except Exception:
            log.exception("what earlier attempts left could not be removed")
        self._gpus.owners_known()
        self._writer.apply(LauncherChanged(self._clock(), available=True))

    def _attempts_held(self) -> frozenset[tuple[str, int]]:
        """(task id, attempt) of all that are under way."""
        return frozenset((task.id, task.attempt) for task in self._writer.state.under_way())

    def _fatal(self, error: Exception) -> None:
        self._failed = True
        self._on_fatal(error)


def _no_task(task_id: str) -> NotFound:
    return NotFound(f"There is no task {task_id[:64]!r}")
