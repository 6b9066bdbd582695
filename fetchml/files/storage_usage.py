"""Disk usage by user, the quota on it, and the measurement of running tasks.

A query takes constant time and does not read the disk: the durable records of snapshots and ended
tasks have their sizes, and the monitor measures running tasks' files every half minute. Tasks write
into their folders directly, so the server can't reject a write; it ends tasks that use too much,
and tasks before the disk is full. Between two measurements a task can write as fast as the disk
allows. Space of a removed file that is still open belongs to no folder, so it is not measured.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fetchml.core import storage
from fetchml.core.model import ENDED, Change, Kept, Principal, Server, Status, Task
from fetchml.core.permissions import manages_all
from fetchml.core.snapshots import Snapshot
from fetchml.core.storage import NOTHING, Kind, Live, Used
from fetchml.errors import StorageQuotaReached
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.disk_usage import free_bytes, measure
from fetchml.files.layout import ATTEMPTS, CHECKPOINT, CHECKPOINT_DRAFT, OUTPUTS, TASKS
from fetchml.system.background import every

MAX_UNRECORDED = 100_000
"""Maximum number of ended tasks of older releases, without a size in their record, that count."""


@dataclass(frozen=True, slots=True)
class UserStorage:
    """Disk usage of one user."""

    user: str
    used: Mapping[Kind, Used]

    @property
    def total(self) -> Used:
        total = NOTHING
        for each in self.used.values():
            total = total.plus(each)
        return total


@dataclass(slots=True)
class _Live:
    """A task that has not ended, as last measured."""

    user: str
    used: dict[Kind, Used] = field(default_factory=dict)


class StorageUsage:
    """Used from one event loop."""

    def __init__(self, allowed_bytes: int) -> None:
        """`allowed_bytes` is the quota of each user; 0 is no quota."""
        self.allowed_bytes = allowed_bytes
        self._users: dict[str, dict[Kind, Used]] = {}
        self._live: dict[str, _Live] = {}
        """By task id."""
        self._environments: dict[str, Used] = {}
        """By user."""
        self._artifacts: dict[str, Used] = {}
        """By user."""
        self._unrecorded: dict[str, tuple[str, Kept]] = {}
        """By the id of an ended task whose record has no size."""

    # Queries.

    def require_room(self, user: str, more_bytes: int = 0) -> None:
        """Raises StorageQuotaReached if the user may not add `more_bytes`."""
        if not self.allowed_bytes:
            return
        fault = storage.quota_fault(self._users.get(user, {}), self.allowed_bytes, more_bytes)
        if fault is not None:
            raise StorageQuotaReached(fault)

    def used_by(self, user: str) -> Mapping[Kind, Used]:
        """Not to be changed; kinds that are missing take nothing."""
        return self._users.get(user, {})

    def of(self, user: str) -> UserStorage:
        used = self._users.get(user, {})
        return UserStorage(user, {kind: used.get(kind, NOTHING) for kind in Kind})

    def seen_by(self, who: Principal) -> list[UserStorage]:
        """Return all users' usage for an admin, the largest first; otherwise the caller's own."""
        if not manages_all(who):
            return [self.of(who.user)]
        everybody = [self.of(user) for user in self._users]
        return sorted(everybody, key=lambda each: (-each.total.bytes, each.user))

    # Reports of the owners of files.

    def load(self, stored: Mapping[str, Kept]) -> None:
        """Set what ended tasks keep, by user. At the start."""
        for user, each in stored.items():
            self._add_kept(user, each)

    def committed(self, changes: Sequence[Change]) -> None:
        """Account for changes that are durable, in order."""
        for change in changes:
            task = change.task
            if task.status not in ENDED or change.is_after_end:
                continue
            if task.hidden:
                self._forget_ended(task)
            else:
                self._drop_live(task.id)
                if not task.service:
                    self._add_kept(task.user, task.kept)

    def outputs_removed(self, before: Task, after: Task) -> None:
        """Apply the removal of an ended task's outputs."""
        self._forget_ended(before)
        self._add_kept(after.user, after.kept)

    def live_measured(self, task: Task, used: Mapping[Kind, Used]) -> None:
        """Set the current usage of a task that has not ended."""
        live = self._live.setdefault(task.id, _Live(task.user))
        for kind in used.keys() | live.used.keys():
            more = used.get(kind, NOTHING).minus(live.used.get(kind, NOTHING))
            self._add(live.user, kind, more)
        live.used = dict(used)

    @contextmanager
    def reserve(self, task: Task, kind: Kind, size: Used) -> Iterator[None]:
        """Count what is being written for a task that has not ended, until a measurement finds it.

        Raises StorageQuotaReached if the user may not add as much. Nothing stays counted if the
        code inside fails.
        """
        self.require_room(task.user, size.bytes)
        self._add(task.user, kind, size)
        try:
            yield
        except BaseException:
            self._add(task.user, kind, NOTHING.minus(size))
            raise
        live = self._live.setdefault(task.id, _Live(task.user))
        live.used[kind] = live.used.get(kind, NOTHING).plus(size)

    def forget_live(self, but: frozenset[str]) -> None:
        """Forget all live tasks except `but`."""
        for task_id in self._live.keys() - but:
            self._drop_live(task_id)

    def snapshot_changed(self, before: Snapshot | None, after: Snapshot | None) -> None:
        for snapshot, sign in ((before, -1), (after, 1)):
            if snapshot is not None:
                for user in snapshot.users:
                    used = Used(sign * snapshot.disk_bytes, sign * max(snapshot.file_count, 1))
                    self._add(user, Kind.SNAPSHOTS, used)

    def workspace_changed(self, user: str, before: Used, after: Used) -> None:
        """Apply a new measurement of a Jupyter workspace."""
        self._add(user, Kind.JUPYTER, after.minus(before))

    def environments_measured(self, used: Mapping[str, Used]) -> None:
        """Set the present usage of environments, by user."""
        for user in used.keys() | self._environments.keys():
            before = self._environments.get(user, NOTHING)
            self._add(user, Kind.ENVIRONMENTS, used.get(user, NOTHING).minus(before))
        self._environments = dict(used)

    def artifacts_changed(self, user: str, more: Used) -> None:
        """Count files of runs and logged models that were added, or, negative, removed."""
        self._artifacts[user] = self._artifacts.get(user, NOTHING).plus(more)
        self._add(user, Kind.ARTIFACTS, more)

    def artifacts_measured(self, used: Mapping[str, Used]) -> None:
        """Set the present usage of artifacts, by user."""
        for user in used.keys() | self._artifacts.keys():
            before = self._artifacts.get(user, NOTHING)
            self._add(user, Kind.ARTIFACTS, used.get(user, NOTHING).minus(before))
        self._artifacts = dict(used)

    def unrecorded(self, task: Task, stored: Kept) -> None:
        """Set the measured usage of an ended task of an older release."""
        if task.kept is not None or len(self._unrecorded) >= MAX_UNRECORDED:
            return
        _, earlier = self._unrecorded.pop(task.id, (task.user, Kept()))
        self._remove_kept(task.user, earlier)
        self._unrecorded[task.id] = task.user, stored
        self._add_kept(task.user, stored)

    def _forget_ended(self, task: Task) -> None:
        _, unrecorded = self._unrecorded.pop(task.id, (task.user, None))
        self._remove_kept(task.user, task.kept or unrecorded)

    def _drop_live(self, task_id: str) -> None:
        live = self._live.pop(task_id, None)
        if live is not None:
            for kind, used in live.used.items():
                self._add(live.user, kind, NOTHING.minus(used))

    def _add_kept(self, user: str, stored: Kept | None) -> None:
        self._add(user, Kind.OUTPUTS, storage.kept_outputs(stored))
        self._add(user, Kind.LOGS, storage.kept_logs(stored))

    def _remove_kept(self, user: str, stored: Kept | None) -> None:
        self._add(user, Kind.OUTPUTS, NOTHING.minus(storage.kept_outputs(stored)))
        self._add(user, Kind.LOGS, NOTHING.minus(storage.kept_logs(stored)))

    def _add(self, user: str, kind: Kind, more: Used) -> None:
        if more == NOTHING:
            return
        kinds = self._users.setdefault(user, {})
        total = kinds.pop(kind, NOTHING).plus(more)
        if total != NOTHING:
            kinds[kind] = Used(max(0, total.bytes), max(0, total.files))
        elif not kinds:
            del self._users[user]


MEASURE_SECONDS = 30
MOST_ENTRIES = 100_000
"""Maximum number of a task's files and folders that are counted."""
SWEEP_SECONDS = 6 * 3600
FIRST_SWEEP_SECONDS = 60
"""After the start, which has more urgent work."""
SWEPT_AT_ONCE = 20
SWEEP_PAUSE_SECONDS = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    data_dir: Path
    min_free_bytes: int
    """With less than twice this free, the task that writes most is ended; the rest is reserved for
    the others."""


@dataclass(frozen=True, slots=True)
class MonitoredTasks:
    """The engine's tasks, as the monitor uses them."""

    active: Callable[[], Sequence[Task]]
    """Returns all tasks with an attempt, services included. On a cluster these may be many."""
    is_active: Callable[[str], bool]
    """Returns whether the task with this id still is one of them."""
    with_checkpoint: Callable[[], Coroutine[object, object, Sequence[Task]]]
    """Returns tasks that wait for another attempt and have a checkpoint."""
    attempt: Callable[[Task], AttemptFolder]
    folder: Callable[[str], Path]
    """Returns the folder of the task with this id."""
    end: Callable[[str, Server], object]
    """Ends the task with this id."""
    find: Callable[[str], Coroutine[object, object, Task | None]]
    """Returns a task in any state."""
    remove_outputs: Callable[[str], Coroutine[object, object, None]]
    """Removes the outputs of an ended task."""
    remove: Callable[[str], Coroutine[object, object, None]]
    """Removes all files of a task without a record."""


class Workspaces(Protocol):
    """Folders of Jupyter services, which outlive them."""

    async def measure_all(self) -> None: ...

    async def measure(self, folder: str) -> int:
        """Return by how many bytes it has grown since the last call."""


class Services(Protocol):
    @property
    def workspaces(self) -> Workspaces: ...

    def folder_of(self, task: Task) -> str | None:
        """Return the workspace of a service; `None` for any other task."""


class StorageMonitor:
    """Used from one event loop, while the engine runs."""

    def __init__(
        self,
        usage: StorageUsage,
        tasks: MonitoredTasks,
        services: Services,
        settings: MonitorSettings,
    ) -> None:
        self._usage = usage
        self._tasks = tasks
        self._services = services
        self._settings = settings
        self._before: dict[str, int] = {}
        """Bytes at the last measurement, by task id."""

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Measure and sweep periodically, while inside."""
        failure = "measuring the disk usage failed"
        measuring = every(
            MEASURE_SECONDS, self.measure_live, first=MEASURE_SECONDS, failure=failure
        )
        sweep = every(SWEEP_SECONDS, self.sweep, first=FIRST_SWEEP_SECONDS, failure=failure)
        async with measuring, sweep:
            yield

    async def measure_live(self) -> None:
        """Measure all running tasks, and end those that use too much."""
        tasks = self._tasks.active()
        waiting = await self._tasks.with_checkpoint()
        ids = frozenset(task.id for task in (*tasks, *waiting))
        self._usage.forget_live(ids)
        self._before = {task_id: size for task_id, size in self._before.items() if task_id in ids}
        live = list[Live]()
        for task in tasks:
            folder = self._tasks.attempt(task)
            used = await asyncio.to_thread(_measure_attempt, folder)
            if task.spec.checkpoint:
                checkpoint = await asyncio.to_thread(
                    _measure_checkpoint, self._tasks.folder(task.id)
                )
                used[Kind.OUTPUTS] = used[Kind.OUTPUTS].plus(checkpoint)
            if not self._tasks.is_active(task.id):
                continue
            self._usage.live_measured(task, used)
            total = sum(each.bytes for each in used.values())
            grown = total - self._before.get(task.id, 0)
            self._before[task.id] = total
            if (workspace := self._services.folder_of(task)) is not None:
                grown += await self._services.workspaces.measure(workspace)
            files = sum(each.files for each in used.values())
            live.append(Live(task, Used(total, files), max(0, grown)))
        for task in waiting:
            checkpoint = await asyncio.to_thread(_measure_checkpoint, self._tasks.folder(task.id))
            if (now := await self._tasks.find(task.id)) is not None and now.ended_at is None:
                self._usage.live_measured(task, {Kind.OUTPUTS: checkpoint})
        free = await asyncio.to_thread(free_bytes, self._settings.data_dir)
        chosen = storage.excess(
            live,
            allowed_bytes=self._usage.allowed_bytes,
            free_bytes=free,
            least_free_bytes=2 * self._settings.min_free_bytes,
        )
        for each in chosen:
            log.warning("a task is ended: %s", each.by.reason, extra={"task_id": each.task.id})
            self._tasks.end(each.task.id, each.by)

    async def sweep(self) -> None:
        """Remove folders of unknown tasks, measure tasks of older releases and Jupyter workspaces.
        In small steps: it may take hours."""
        await self._services.workspaces.measure_all()
        root = self._settings.data_dir / TASKS
        with contextlib.suppress(FileNotFoundError), os.scandir(root) as entries:
            while names := await asyncio.to_thread(_next_names, entries):
                for name in names:
                    await self._sweep_task(root, name)
                await asyncio.sleep(SWEEP_PAUSE_SECONDS)

    async def _sweep_task(self, root: Path, task_id: str) -> None:
        task = await self._tasks.find(task_id)
        if task is None or (task.hidden and not task.service):
            log.info("files of a removed task are removed", extra={"task_id": task_id})
            await self._tasks.remove(task_id)
        elif task.status in (Status.COMPLETED, Status.FAILED) and task.kept is None:
            if task.service:
                return
            measured = await asyncio.to_thread(_measure_ended, root / task_id)
            self._usage.unrecorded(task, measured)
        elif task.outputs_removed_at is not None:
            await self._tasks.remove_outputs(task_id)


def _measure_attempt(folder: AttemptFolder) -> dict[Kind, Used]:
    def of(path: Path) -> Used:
        return measure(path, MOST_ENTRIES, pause=True)

    return {
        Kind.WORKSPACES: of(folder.workspace).plus(of(folder.workspace_draft)),
        Kind.OUTPUTS: of(folder.outputs),
        Kind.LOGS: of(folder.run),
    }


def _measure_checkpoint(folder: Path) -> Used:
    measured = measure(folder / CHECKPOINT, MOST_ENTRIES, pause=True)
    return measured.plus(measure(folder / CHECKPOINT_DRAFT, MOST_ENTRIES, pause=True))


def _measure_ended(folder: Path) -> Kept:
    outputs = measure(folder / OUTPUTS, MOST_ENTRIES, pause=True)
    outputs = outputs.plus(_measure_checkpoint(folder))
    logs = measure(folder / ATTEMPTS, MOST_ENTRIES, pause=True)
    return Kept(outputs.bytes, outputs.files, logs.bytes, logs.files)


def _next_names(entries: "os._ScandirIterator[str]") -> list[str]:
    names = list[str]()
    for entry in entries:
        names.append(entry.name)
        if len(names) == SWEPT_AT_ONCE:
            break
    return names
