"""Checkpoint folders of tasks, in place before each attempt."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from fetchml.core.model import Task
from fetchml.core.requests.submission import checkpoint_source_fault
from fetchml.core.storage import Kind
from fetchml.errors import DiskFull, StorageQuotaReached
from fetchml.files import checkpoint_folder
from fetchml.files.checkpoint_folder import TooManyFilesError, User
from fetchml.files.disk_usage import measure
from fetchml.files.layout import CHECKPOINT_DRAFT as DRAFT
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_files import TaskFiles
from fetchml.files.untrusted import TooDeepError
from fetchml.ports.launcher import NamedFolder, Owner, PrepareError
from fetchml.ports.task_environment import CHECKPOINT
from fetchml.system import failpoints
from fetchml.system.threads import WorkerThreads

TARGET = "/checkpoint"
COPYING_THREADS = 2


@dataclass(slots=True)
class CheckpointCounts:
    """Counted since server start."""

    new: int = 0
    """Attempts that began with an empty folder."""
    kept: int = 0
    """Attempts that found the folder of an earlier attempt."""
    copied: int = 0
    """Attempts for which another task's checkpoint was copied."""
    copied_bytes: int = 0
    failures: int = 0
    """Attempts whose checkpoint could not be prepared."""


class Checkpoints:
    """Used from one event loop."""

    def __init__(
        self,
        find: Callable[[str], Awaitable[Task | None]],
        files: TaskFiles,
        usage: StorageUsage,
        *,
        has_room: Callable[[], bool],
    ) -> None:
        """`find` returns a task in any state. `has_room`: whether the disk has space to go on."""
        self._find = find
        self._files = files
        self._usage = usage
        self._copying = WorkerThreads("checkpoints", COPYING_THREADS, has_room=has_room)
        self.counts = CheckpointCounts()

    async def provide(
        self, task: Task, owner: Owner, progress: Callable[[str], None]
    ) -> NamedFolder:
        """Put the task's checkpoint in place, which stays as it is once it exists. Raises
        PrepareError."""
        try:
            return await self._provide(task, owner, progress)
        except PrepareError:
            self.counts.failures += 1
            raise

    async def _provide(
        self, task: Task, owner: Owner, progress: Callable[[str], None]
    ) -> NamedFolder:
        folder = self._files.checkpoint(task.id)
        user = User(*owner) if owner is not None else None
        is_copy = False
        try:
            if task.spec.checkpoint_from is not None and not await asyncio.to_thread(folder.exists):
                progress("copying the checkpoint")
                await self._copy(task, task.spec.checkpoint_from, user)
                is_copy = True
            is_new = await asyncio.to_thread(checkpoint_folder.create, folder, user)
        except OSError as error:
            message = f"the checkpoint can't be prepared: {error.strerror or error}"
            raise PrepareError(message, permanent=False) from error
        except TooDeepError as error:
            message = f"the checkpoint can't be prepared: {error}"
            raise PrepareError(message, permanent=True) from error
        self.counts.copied += is_copy
        self.counts.new += is_new
        self.counts.kept += not is_copy and not is_new
        return NamedFolder(CHECKPOINT, folder, TARGET)

    async def _copy(self, task: Task, source_id: str, user: User | None) -> None:
        source = self._files.checkpoint(source_id)
        folder = self._files.checkpoint(task.id)
        draft = folder.with_name(DRAFT)
        try:
            size = await self._copying.run(lambda _: measure(source))
            with self._usage.reserve(task, Kind.OUTPUTS, size):
                await self._copying.run(partial(checkpoint_folder.copy, source, draft, user))
                failpoints.reach("checkpoint_copied")
                await self._require_source(source_id)
                await asyncio.to_thread(draft.rename, folder)
                failpoints.reach("checkpoint_placed")
            self.counts.copied_bytes += size.bytes
        except StorageQuotaReached as error:
            raise PrepareError(error.message, permanent=True) from None
        except DiskFull:
            raise PrepareError(DiskFull.REASON, permanent=False) from None
        except FileNotFoundError:
            message = f"the task {source_id} has left no checkpoint"
            raise PrepareError(message, permanent=True) from None
        except (TooDeepError, TooManyFilesError) as error:
            message = f"the checkpoint of task {source_id} can't be copied: {error}"
            raise PrepareError(message, permanent=True) from None

    async def _require_source(self, source_id: str) -> None:
        """Raises PrepareError if the checkpoint that was copied may have been removed meanwhile.
        Files are removed after the record: a source that is there now was there to the end."""
        found = await self._find(source_id)
        gone = found is None or found.hidden
        if (fault := checkpoint_source_fault(None if gone else found)) is not None:
            message = f"the checkpoint of task {source_id} can't be copied: {fault}"
            raise PrepareError(message, permanent=True)
