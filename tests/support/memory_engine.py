"""A real engine over a store in memory. It starts nothing: a test says how its tasks fare."""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from fetchml.attempts.manager import AttemptSettings
from fetchml.core.model import Cancel, Principal, Resources, Task
from fetchml.core.notification_outbox import Channel
from fetchml.core.requests.submission import Defaults, SubmissionRules, TaskLimits
from fetchml.core.snapshots import Snapshot
from fetchml.core.state import Limits
from fetchml.datasets.cache import DatasetCache
from fetchml.datasets.provider import DatasetProvider
from fetchml.engine.retention import Retention, RetentionSettings
from fetchml.engine.task_index import RECENT
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.folder_events import FolderEvents
from fetchml.files.task_files import TaskFiles
from fetchml.files.task_users import SharedOwner
from fetchml.jupyter.jupyter_service import JupyterOptions
from fetchml.ports.launcher import Owner
from fetchml.ports.notifier import Notifier
from fetchml.server.assembled import Assembly
from fetchml.server.assembly import Options, Outside, assemble
from fetchml.snapshots.snapshot_service import SnapshotOptions
from fetchml.snapshots.unpack import UnpackLimits
from fetchml.views import Explanation, Health, Shortage, StartEstimate
from tests.support.memory_store import MemoryStore
from tests.support.waiting import SECONDS

START_MS = 1_760_000_000_000

T = TypeVar("T")


class IdleLauncher:
    """A launcher that is never asked: no task gets a slot."""

    name = "idle"
    owner: Owner = None

    async def open(self, instance_id: str, on_available: Callable[[bool, str], None]) -> None:
        self.report = on_available
        on_available(True, "it is here")

    async def clean(self, live: frozenset[tuple[str, int]]) -> None: ...

    def owner_of(self, pid: int) -> str | None:
        return None

    async def usage(self, runs: Sequence[object]) -> list[None]:
        return [None for _ in runs]

    async def close(self) -> None: ...


class MemoryEngine:
    def __init__(
        self, parts: Assembly, store: MemoryStore, launcher: IdleLauncher, files: TaskFiles
    ) -> None:
        self.parts = parts
        self.engine = parts.engine
        self.store = store
        self.launcher = launcher
        self.requests: list[Mapping[str, object]] = []
        """Every create request, as the transport gave it."""
        self.batch_keys: list[list[str | None]] = []
        self.open_streams = 0
        """Watches and log reads that go on."""
        self.retention = Retention(
            store,
            parts.ended,
            parts.snapshots,
            parts.usage,
            parts.audit,
            RetentionSettings(0, 0),
            parts.clock,
            environments=parts.environments,
            volumes=parts.volumes,
        )
        self._files = files
        self._explain: Any = self.engine.tasks.explain
        self._changed = asyncio.Condition()
        store.subscribe(lambda _: self._wake())
        self._observe()

    def _observe(self) -> None:
        submissions: Any = self.engine.submissions
        watches: Any = self.engine.watches
        batches: Any = self.engine.batches
        logs: Any = self.engine.logs
        tasks: Any = self.engine.tasks
        create_task, create_tasks = submissions.create_task, submissions.create_tasks
        watch, read_logs, watch_batches = watches.watch, logs.read, batches.watch

        def explain(who: Principal, task_id: str) -> Any:
            # The transports keep this function, before a test calls the other `explain`.
            return self._explain(who, task_id)

        tasks.explain = explain

        def one(who: Principal, request: Any, key: str | None = None) -> Any:
            self.requests.append(request)
            return create_task(who, request, key)

        def many(who: Principal, requests: Any, keys: Any = ()) -> Any:
            self.requests += requests
            self.batch_keys.append(list(keys))
            return create_tasks(who, requests, keys)

        submissions.create_task, submissions.create_tasks = one, many
        watches.watch = lambda *args, **more: self._counted(watch(*args, **more))
        batches.watch = lambda *args: self._counted(watch_batches(*args))
        logs.read = lambda *args, **more: self._counted(read_logs(*args, **more))

    async def _counted(self, stream: AsyncGenerator[T]) -> AsyncGenerator[T]:
        self.open_streams += 1
        try:
            async for each in stream:
                yield each
        finally:
            await stream.aclose()
            self.open_streams -= 1
            self._wake()

    def _wake(self) -> None:
        async def wake() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._waker = asyncio.get_running_loop().create_task(wake())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that changes tasks or `open_streams`."""
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(condition)

    @property
    def tasks(self) -> dict[str, Task]:
        return {task.id: task for task in self.store.tasks.values() if not task.hidden}

    def fail(self, error: Exception) -> None:
        """From now on every verb on tasks and the queue fails with `error`."""

        def fail(*_: object, **__: object) -> Any:
            raise error

        for owner, names in (
            (self.engine.submissions, "create_task create_tasks"),
            (self.engine.tasks, "get"),
            (self.engine.tasks, "list"),
            (self.engine.watches, "watch"),
            (self.engine.status, "queue_stats"),
        ):
            for name in names.split():
                self.replace(name, fail, owner)

    async def change(self, task_id: str, **fields: Any) -> Task:
        """A new version of the task, past the core."""
        task = msgspec.structs.replace(self.store.tasks[task_id], **fields)
        await self.parts.dispatcher.record(self.parts.clock(), [task])
        return task

    async def log(self, task_id: str, data: bytes) -> None:
        """The task's first attempt writes."""
        if not self.store.tasks[task_id].attempt:
            await self.change(task_id, attempt=1)
        run = self.attempt(task_id).run
        run.mkdir(parents=True, exist_ok=True)
        with (run / f"log.{0:020}").open("ab") as file:
            file.write(data)

    def attempt(self, task_id: str) -> AttemptFolder:
        """The folder of the task's first attempt."""
        return self._files.attempt(task_id, 1)

    async def cancelled_long_ago(self, task_id: str) -> None:
        """Move the cancel back: another DELETE is no repetition of the first any more."""
        at = self.store.tasks[task_id].created_at - 60_000
        await self.change(task_id, ended_at=at, cancel=Cancel("user", at))

    def outputs(self, task_id: str, files: Mapping[str, bytes]) -> None:
        """The task has left these files."""
        for path, data in files.items():
            file = self.output_folder(task_id) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            os.utime(file, (START_MS // 1000, START_MS // 1000))

    def output_folder(self, task_id: str) -> Path:
        return self._files.outputs(task_id)

    def explain(self) -> None:
        """From now on every task waits for a GPU that somebody uses."""

        async def explain(who: Principal, task_id: str) -> Explanation:
            task = await self.engine.tasks.get(who, task_id)
            blocked = ("GPU 3: busy: python3 (pid 4711, 2.1 GiB)",)
            missing = (Shortage("gpu", task.spec.gpu or 0, 0, 8, blocked),)
            estimate = StartEstimate(START_MS + 60_000, START_MS + 600_000, 10, 50, 90)
            status = task.shown_status
            return Explanation(task.id, status, "waits for a GPU", 1, missing, estimate=estimate)

        self._explain = explain

    def report(self, health: Health) -> None:
        self.replace("health", lambda: health, self.engine.status)

    def replace(self, verb: str, instead: Callable[..., Any], of: object) -> None:
        """Put a test's own function in the place of a verb of `of`, a service of the engine."""
        setattr(of, verb, instead)

    async def add_snapshot(self, snapshot_id: str, project_file: str | None = None) -> None:
        """A record without files, for what only names a snapshot."""
        now = self.parts.clock()
        record = Snapshot(snapshot_id, 1, 1, now, now, ("user",), project_file=project_file)
        await self.parts.snapshots.records.put(record)

    async def drain(self) -> None:
        await self.parts.lifecycle.drain()


@asynccontextmanager
async def memory_engine(notifier: Notifier | None = None) -> AsyncIterator[MemoryEngine]:
    """Its limits on snapshots are small. `notifier` sends the webhooks."""
    store, launcher = MemoryStore(), IdleLauncher()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        async with FolderEvents() as watch:
            outside = Outside(
                store,
                await store.open(recent_limit=RECENT, on_fatal=_never),
                launcher,  # type: ignore[arg-type]  # it runs nothing
                None,
                DatasetProvider(
                    data_dir,
                    DatasetCache(data_dir / "datasets", most_bytes=1 << 40, min_free_bytes=0),
                    {},
                ),
                SharedOwner(None),
                watch,
                notifiers={} if notifier is None else {Channel.WEBHOOK: notifier},
            )
            defaults = Defaults("python:3.12-slim", ("python", "train.py"), TaskLimits(), 0)
            limits = Limits(Resources(cpu=64, memory_gb=256, gpu=8), 0, 600_000, "box")
            options = Options(
                data_dir=data_dir,
                tasks_dir=data_dir,
                limits=limits,
                limits_with=lambda _: (limits, ()),
                rules=SubmissionRules(defaults),
                runs=AttemptSettings(2_000, 1 << 20),
                snapshots=SnapshotOptions(UnpackLimits(100_000, 20), keep_ms=60_000, private=False),
                jupyter=JupyterOptions({}, 0, private=False, has_containers=True, public_url=""),
                workspaces=data_dir / "jupyter",
                private=False,
                zone=ZoneInfo("UTC"),
                user_storage_bytes=0,
            )
            parts = await assemble(outside, options)
            await parts.lifecycle.start()
            try:
                async with parts.snapshots.upkeep():
                    yield MemoryEngine(parts, store, launcher, TaskFiles(data_dir))
            finally:
                await parts.lifecycle.close()


def _never(error: Exception) -> None:
    raise AssertionError("the store failed") from error
