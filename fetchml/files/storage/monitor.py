"""Measures running tasks' files every half minute, and ends tasks before the disk is full.

Tasks write into their folders directly, so the server can't reject a write; it measures, and ends
tasks that use too much. Between two measurements a task can write as fast as the disk allows. Space
of a removed file that is still open is not found in any folder.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fetchml.core import storage
from fetchml.core.model import Kept, Server, Status, Task
from fetchml.core.storage import Kind, Live, Used
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.disk_space import free_bytes
from fetchml.files.layout import ATTEMPTS, CHECKPOINT, CHECKPOINT_DRAFT, OUTPUTS, TASKS
from fetchml.files.storage.usage import StorageUsage
from fetchml.files.tree_size import measure
from fetchml.system.background import every

LOOK_SECONDS = 30
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

    under_way: Callable[[], Sequence[Task]]
    """Returns all tasks with an attempt, services included. On a cluster these may be many."""
    is_under_way: Callable[[str], bool]
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
        failure = "the disk cannot be looked at"
        look = every(LOOK_SECONDS, self.look, first=LOOK_SECONDS, failure=failure)
        sweep = every(SWEEP_SECONDS, self.sweep, first=FIRST_SWEEP_SECONDS, failure=failure)
        async with look, sweep:
            yield

    async def look(self) -> None:
        """Measure all running tasks, and end those that use too much."""
        tasks = self._tasks.under_way()
        waiting = await self._tasks.with_checkpoint()
        ids = frozenset(task.id for task in (*tasks, *waiting))
        self._usage.forget_live(ids)
        self._before = {known: size for known, size in self._before.items() if known in ids}
        found = list[Live]()
        for task in tasks:
            folder = self._tasks.attempt(task)
            used = await asyncio.to_thread(_measure_attempt, folder)
            if task.spec.checkpoint:
                kept = await asyncio.to_thread(_measure_checkpoint, self._tasks.folder(task.id))
                used[Kind.OUTPUTS] = used[Kind.OUTPUTS].plus(kept)
            if not self._tasks.is_under_way(task.id):
                continue
            self._usage.live_measured(task, used)
            total = sum(each.bytes for each in used.values())
            grown = total - self._before.get(task.id, 0)
            self._before[task.id] = total
            if (workspace := self._services.folder_of(task)) is not None:
                grown += await self._services.workspaces.measure(workspace)
            files = sum(each.files for each in used.values())
            found.append(Live(task, Used(total, files), max(0, grown)))
        for task in waiting:
            kept = await asyncio.to_thread(_measure_checkpoint, self._tasks.folder(task.id))
            if (now := await self._tasks.find(task.id)) is not None and now.ended_at is None:
                self._usage.live_measured(task, {Kind.OUTPUTS: kept})
        free = await asyncio.to_thread(free_bytes, self._settings.data_dir)
        chosen = storage.excess(
            found,
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
            kept = await asyncio.to_thread(_measure_ended, root / task_id)
            self._usage.unrecorded(task, kept)
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
    kept = measure(folder / CHECKPOINT, MOST_ENTRIES, pause=True)
    return kept.plus(measure(folder / CHECKPOINT_DRAFT, MOST_ENTRIES, pause=True))


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
