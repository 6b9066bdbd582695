"""Files that runs and logged models keep: `<data-dir>/tracking/of-USER/ID/PATH`.

The server alone writes there, and only regular files and folders. A file is visible when it is
whole. The disk usage of each user is counted at each change, and measured at times.
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fetchml.core.requests.checks import text_fault
from fetchml.core.storage import BLOCK_BYTES, NOTHING, Used, on_disk
from fetchml.errors import BadRequest, DiskFull, NotFound
from fetchml.files import untrusted
from fetchml.files.disk_usage import is_disk_full, measure
from fetchml.files.layout import TRACKING_DRAFTS
from fetchml.files.own_file import sync_folder
from fetchml.files.reads import FileReads, OpenedFile
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_files import etag_of
from fetchml.system.background import every
from fetchml.system.threads import run_in_thread

MAX_DEPTH = 32
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 2_000
MAX_LISTED = 10_000
"""Entries of one folder that are listed."""
WRITE_BYTES = 1 << 20
SWEEP_SECONDS = 6 * 3600
_OWNER = "of-"

FindRuns = Callable[[Sequence[str]], Awaitable[set[str]]]


class Holder(NamedTuple):
    """A run or a logged model, whose files these are."""

    user: str
    id: str


class Entry(NamedTuple):
    name: str
    size: int | None
    """In bytes; `None` for a folder."""


class _Draft:
    """A file that is being received."""

    def __init__(self, path: Path, user: str) -> None:
        self.path = path
        self.user = user
        self.used = NOTHING


class Artifacts:
    """Used from one event loop. Who may do what is checked before. Verbs raise
    `errors.RequestError`."""

    def __init__(self, folder: Path, usage: StorageUsage, has_room: Callable[[], bool]) -> None:
        """`folder`: of all these files. `has_room`: whether the disk has space for more."""
        self._root = folder
        self._usage = usage
        self._has_room = has_room
        self._drafts = set[_Draft]()
        self._reads = FileReads()

    async def write(self, holder: Holder, path: str, pieces: AsyncIterator[bytes]) -> None:
        """Store a file, or replace it; durable on return."""
        target = self._path(holder, path)
        if not self._has_room():
            raise DiskFull
        draft = _Draft(self._root / TRACKING_DRAFTS / secrets.token_hex(16), holder.user)
        self._drafts.add(draft)
        try:
            await self._receive(draft, pieces)
            more = await run_in_thread(_put, self._root, draft.path, target)
            self._usage.artifacts_changed(holder.user, more)
        except (NotADirectoryError, IsADirectoryError, FileExistsError):
            raise BadRequest(f"{path[:200]!r}: a file and a folder of one name") from None
        except OSError as error:
            if is_disk_full(error):
                raise DiskFull from None
            raise
        finally:
            self._drafts.remove(draft)
            self._usage.artifacts_changed(holder.user, NOTHING.minus(draft.used))
            await run_in_thread(draft.path.unlink, missing_ok=True)

    async def open(self, holder: Holder, path: str) -> OpenedFile:
        self._path(holder, path)
        try:
            file, status = await self._reads(partial(_open, self._folder(holder), path))
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"Artifact {path[:200]!r} not found") from None
        return OpenedFile(file, status.st_size, etag_of(status), self._reads)

    async def list(self, holder: Holder, path: str) -> list[Entry]:
        """Return the entries of a folder by name; none if there is no such folder."""
        folder = self._path(holder, path) if path else self._folder(holder)
        try:
            return await self._reads(partial(_list, folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    async def delete(self, holder: Holder, path: str = "") -> None:
        """Remove a file or a tree; an empty path is all of the holder's."""
        target = self._path(holder, path) if path else self._folder(holder)
        before = await asyncio.to_thread(_measure, target)
        await run_in_thread(untrusted.remove, target)
        self._usage.artifacts_changed(holder.user, NOTHING.minus(before))

    @asynccontextmanager
    async def upkeep(
        self, models: Callable[[Iterable[str]], set[str]], runs: FindRuns
    ) -> AsyncIterator[None]:
        """While inside, measure all files at times, and remove those whose run or model is gone.
        `models` and `runs` return those of some ids that there are.
        """
        await asyncio.to_thread(self._clear_drafts)
        failure = "measuring the artifacts failed"
        async with every(SWEEP_SECONDS, partial(self.sweep, models, runs), failure=failure):
            yield

    async def sweep(self, models: Callable[[Iterable[str]], set[str]], runs: FindRuns) -> None:
        used: dict[str, Used] = {}
        for user, ids in (await asyncio.to_thread(_holders, self._root)).items():
            existing = models(ids) | await runs(ids)
            total = NOTHING
            for each in ids:
                folder = self._folder(Holder(user, each))
                if each in existing:
                    total = total.plus(await asyncio.to_thread(_measure, folder))
                else:
                    await run_in_thread(untrusted.remove, folder)
            used[user] = total
        for draft in self._drafts:
            used[draft.user] = used.get(draft.user, NOTHING).plus(draft.used)
        self._usage.artifacts_measured(used)

    def _clear_drafts(self) -> None:
        shutil.rmtree(self._root / TRACKING_DRAFTS, ignore_errors=True)
        (self._root / TRACKING_DRAFTS).mkdir(0o700, parents=True, exist_ok=True)

    async def _receive(self, draft: "_Draft", pieces: AsyncIterator[bytes]) -> None:
        waiting: list[bytes] = []
        size = 0
        with await run_in_thread(draft.path.open, "xb") as file:
            async for piece in pieces:
                waiting.append(piece)
                size += len(piece)
                if size >= WRITE_BYTES:
                    self._count(draft, size)
                    await run_in_thread(file.writelines, waiting)
                    waiting, size = [], 0
            self._count(draft, on_disk(size))
            await run_in_thread(_finish, file, waiting)

    def _count(self, draft: "_Draft", more_bytes: int) -> None:
        """Count what is about to be written. Raises StorageQuotaReached, DiskFull."""
        self._usage.require_room(draft.user, more_bytes)
        if not self._has_room():
            raise DiskFull
        more = Used(more_bytes)
        draft.used = draft.used.plus(more)
        self._usage.artifacts_changed(draft.user, more)

    def _folder(self, holder: Holder) -> Path:
        return self._root / f"{_OWNER}{holder.user}" / holder.id

    def _path(self, holder: Holder, path: str) -> Path:
        """Raises BadRequest."""
        parts = path.split("/")
        if (
            any(part in ("", ".", "..") for part in parts)
            or text_fault(path)
            or len(parts) > MAX_DEPTH
            or len(path.encode()) > MAX_PATH_BYTES
            or any(len(part.encode()) > MAX_NAME_BYTES for part in parts)
        ):
            raise BadRequest(
                f"path: must be a relative path of at most {MAX_DEPTH} names, each of at most "
                f"{MAX_NAME_BYTES} bytes, without empty names, . and .."
            )
        return self._folder(holder).joinpath(*parts)


def _finish(file: BinaryIO, pieces: Collection[bytes]) -> None:
    file.writelines(pieces)
    file.flush()
    os.fsync(file.fileno())


def _put(root: Path, draft: Path, target: Path) -> Used:
    """Give a whole file its name, and return by how much the user's files have grown. Raises
    OSError."""
    made = not target.parent.is_dir()
    target.parent.mkdir(0o700, parents=True, exist_ok=True)
    before, new = _measure(target), _measure(draft)
    draft.replace(target)
    for folder in target.parents:
        sync_folder(folder)
        if folder == root or not made:
            break
    return new.minus(before)


def _open(folder: Path, path: str) -> tuple[BinaryIO, os.stat_result]:
    file = untrusted.open_regular(folder, path)
    return file, os.fstat(file.fileno())


def _list(folder: Path) -> list[Entry]:
    found: list[Entry] = []
    with os.scandir(folder) as entries:
        for entry in islice(entries, MAX_LISTED):
            size = None if entry.is_dir(follow_symlinks=False) else entry.stat().st_size
            found.append(Entry(entry.name, size))
    return sorted(found)


def _measure(path: Path) -> Used:
    """Return the disk usage of a file, or of all below a folder; nothing if there is none."""
    if path.is_file():
        return Used(path.stat().st_blocks * 512 + BLOCK_BYTES, 1)
    return measure(path, pause=True)


def _holders(root: Path) -> dict[str, list[str]]:
    """Return the ids of runs and models that have files, by user."""
    users = [each for each in root.iterdir() if each.name.startswith(_OWNER)]
    return {
        each.name.removeprefix(_OWNER): [inner.name for inner in each.iterdir()] for each in users
    }
