"""The files of tasks: attempts with their logs, and outputs.

Outputs come from an untrusted process: no link in them is ever followed.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from fetchml.core.model import Task
from fetchml.errors import NotFound, Unavailable
from fetchml.files import untrusted
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.checkpoint_folder import newest_change
from fetchml.files.layout import ATTEMPTS, CHECKPOINT, CHECKPOINT_DRAFT, OUTPUTS, TASKS
from fetchml.files.reads import FileReads, OpenedFile
from fetchml.files.shared_disk import is_fault
from fetchml.system.locks import KeyedLocks
from fetchml.views import NamedFolder, OutputFile

MAX_OUTPUT_FILES = 10_000
MOST_PATH_BYTES = 4 << 20
"""All paths of one list, or of one archive, together: folders may be nested so that each path has
25 KB."""
LISTING_THREADS = 2
REMOVING_THREADS = 2

T = TypeVar("T")

log = logging.getLogger(__name__)


class TaskFiles:
    """Lists and removals have their own threads, so that they never delay other work."""

    def __init__(self, data_dir: Path, reads: FileReads | None = None) -> None:
        """`reads`: of the disk with the files; `None`: it is one of this host."""
        self.reads = reads or FileReads()
        self._root = data_dir / TASKS
        self._lists = KeyedLocks()
        self._listing = ThreadPoolExecutor(LISTING_THREADS, "outputs")
        self._removing = ThreadPoolExecutor(REMOVING_THREADS, "removals")

    def attempt(self, task_id: str, attempt: int) -> AttemptFolder:
        return AttemptFolder(self.attempt_path(task_id, attempt))

    def attempt_path(self, task_id: str, attempt: int) -> Path:
        return self._root.joinpath(task_id, ATTEMPTS, str(attempt))

    def folder(self, task_id: str) -> Path:
        return self._root / task_id

    def outputs(self, task_id: str) -> Path:
        return self._root.joinpath(task_id, OUTPUTS)

    def checkpoint(self, task_id: str) -> Path:
        return self._root.joinpath(task_id, CHECKPOINT)

    async def remove(self, task_id: str) -> None:
        """Remove all files of a task. Errors are logged."""
        try:
            await self._remove(self._root / task_id)
        except OSError:
            log.exception("removing a deleted task's files failed", extra={"task_id": task_id})

    async def remove_outputs(self, task_id: str) -> None:
        """Remove the outputs of an ended task, and its checkpoint. Errors are logged."""
        try:
            for name in (OUTPUTS, CHECKPOINT, CHECKPOINT_DRAFT):
                await self._remove(self._root / task_id / name)
        except OSError:
            log.exception("removing a task's outputs failed", extra={"task_id": task_id})

    async def output(self, task: Task) -> str | None:
        """Return the last 64 KiB that the current or last attempt wrote; `None` if it never ran,
        or if the disk does not answer: the rest of the task is known."""
        if not task.attempt:
            return None
        folder = self.attempt(task.id, task.attempt)
        try:
            tail = await self.reads(folder.tail)
        except Unavailable:
            return None
        if not tail and task.started_at is None:
            return None
        return tail.decode(errors="replace")

    async def list_outputs(
        self,
        task_id: str,
        user: str,
        most: int = MAX_OUTPUT_FILES,
        folder: NamedFolder = NamedFolder.OUTPUTS,
    ) -> list[OutputFile]:
        """Return the first regular files, by path, 10,000 by default; no more after the one with
        which their paths exceed MOST_PATH_BYTES. Raises Unavailable.

        Lists of one user wait for each other, so that they don't occupy all threads.
        """
        root = self._root / task_id / folder
        return await self.reads.long(root, self._list(root, user, most))

    async def _list(self, root: Path, user: str, most: int) -> list[OutputFile]:
        async with self._lists.hold(user):
            try:
                return await self._in_listing_thread(partial(_walk, root, most))
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                # No attempt has begun, the task was just deleted, or it spoilt its own folder.
                return []

    async def _in_listing_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._listing, work)

    async def _remove(self, root: Path) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._removing, untrusted.remove, root)

    async def checkpoint_saved_at(self, task_id: str) -> int | None:
        """Return when a file of the task's checkpoint was last written, in milliseconds since the
        epoch (UTC); `None` if there is none, or if the disk does not answer."""
        folder = self.checkpoint(task_id)
        looking = self._in_listing_thread(partial(newest_change, folder))
        try:
            return await self.reads.long(folder, looking)
        except Unavailable:
            return None

    async def open_output(
        self, task_id: str, path: str, folder: NamedFolder = NamedFolder.OUTPUTS
    ) -> OpenedFile:
        """Open a regular file in the outputs, or in the checkpoint. Raises NotFound, and
        Unavailable."""
        root = self._root / task_id / folder
        file, status = await self.reads(partial(_open, root, path))
        return OpenedFile(file, status.st_size, etag_of(status), self.reads)


def etag_of(status: os.stat_result) -> str:
    """Return a text that changes with the content of an output.

    A task can set a file's size and its time of change, but neither its inode nor the time of the
    inode's change, which the server's own handling of collected files sets.
    """
    parts = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def _walk(root: Path, most: int) -> list[OutputFile]:
    outputs: list[OutputFile] = []
    left = MOST_PATH_BYTES
    for path, status in islice(untrusted.regular_files(root), most):
        modified_at = status.st_mtime_ns // 1_000_000
        outputs.append(OutputFile(path, status.st_size, modified_at, etag_of(status)))
        left -= path_bytes(path)
        if left < 0:
            break
    return outputs


def path_bytes(path: str) -> int:
    return len(os.fsencode(path))


def _open(root: Path, path: str) -> tuple[BinaryIO, os.stat_result]:
    file = open_inside(root, path)
    return file, os.fstat(file.fileno())


def open_inside(root: Path, path: str) -> BinaryIO:
    """Open a regular file below `root` without following a link. Raises NotFound, and OSError if
    the disk fails."""
    try:
        return untrusted.open_regular(root, path)
    except OSError as error:
        if is_fault(error) and not isinstance(error, PermissionError):
            raise
        raise NotFound(f"Output {path!r} not found") from None
