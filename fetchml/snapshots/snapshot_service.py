"""Snapshots: trees of code that tasks run, uploaded once and kept while they are in use.

The records are in memory and in the store; the trees are files, handled in threads.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from fetchml import __version__
from fetchml.auth.audit import Audit
from fetchml.core import snapshots
from fetchml.core.audit import Action
from fetchml.core.model import Principal
from fetchml.core.requests import project_file, submission
from fetchml.core.requests.listing import page_fault
from fetchml.core.requests.project_file import NO_PROJECT, ProjectFile
from fetchml.core.snapshots import Entry, Snapshot
from fetchml.errors import BadRequest, Conflict, DiskFull, Forbidden, NotFound, Unavailable
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.reads import FileReads, OpenedFile
from fetchml.files.storage_usage import StorageUsage
from fetchml.pages import PART_BYTES
from fetchml.ports.launcher import Owner, PrepareError
from fetchml.ports.store import Store
from fetchml.snapshots.files import DamagedSnapshot, SnapshotFiles
from fetchml.snapshots.records import SnapshotRecords
from fetchml.snapshots.unpack import UnpackLimits
from fetchml.snapshots.upload import SnapshotUploads
from fetchml.system.background import BackgroundWork, every
from fetchml.system.locks import KeyedLocks
from fetchml.system.threads import UserThreads, WorkerThreads


class SnapshotCopies:
    def __init__(
        self, records: SnapshotRecords, files: SnapshotFiles, *, has_room: Callable[[], bool]
    ) -> None:
        self._records = records
        self._files = files
        # Threads of their own, so that no upload holds up a task.
        self._copying = WorkerThreads("snapshot-copy", 4, has_room=has_room)
        self.loaded = asyncio.Event()
        """Set when the records are loaded: until then `copy` waits."""

    async def copy(self, user: str, snapshot_id: str, attempt: AttemptFolder, owner: Owner) -> None:
        """Make the attempt's workspace a private copy for `owner`. A workspace that exists is
        complete, and stays as it is.

        Raises PrepareError.
        """
        await self.loaded.wait()
        if self._records.to_run(user, snapshot_id) is None:
            raise PrepareError(f"snapshot {snapshot_id!r} not found", permanent=True)
        try:
            await self._copying.run(partial(self._files.copy, snapshot_id, attempt, owner))
        except DamagedSnapshot:
            message = f"the files of snapshot {snapshot_id} are damaged: delete and upload it again"
            raise PrepareError(message, permanent=True) from None
        except DiskFull:
            raise PrepareError(DiskFull.REASON, permanent=False) from None
        except OSError as error:
            message = f"cannot copy the snapshot: {error.strerror or error}"
            raise PrepareError(message, permanent=False) from error


MAX_FILES = 10_000
"""Files in one list."""
MAX_LISTS = 2
"""Manifests that are decoded at the same time: one may have a hundred thousand files."""
ENTRY_BYTES = 128
"""Bytes of a file in a list, besides its path."""


class FileList(NamedTuple):
    files: Sequence[Entry]
    """Files and links in the order of their paths, without folders."""
    total: int


class SnapshotReads:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(self, records: SnapshotRecords, files: SnapshotFiles) -> None:
        self._records = records
        self._files = files
        self.open_file = files.open_file
        """Of a snapshot whose `entries` the caller has seen."""
        self._turns = KeyedLocks()
        self._lists = asyncio.Semaphore(MAX_LISTS)

    async def list(
        self,
        who: Principal,
        snapshot_id: str,
        limit: int | None = None,
        offset: int | None = None,
    ) -> FileList:
        """Return a part of the files. It may end early: the next part begins after what it has.
        Lists of one user wait for each other, so that they don't keep others waiting. Raises
        NotFound, BadRequest."""
        limit, offset = MAX_FILES if limit is None else limit, offset or 0
        if fault := page_fault(limit, offset, most=MAX_FILES):
            raise BadRequest(fault)
        entries = await self.entries(who, snapshot_id)
        return FileList(_fitting(entries[offset : offset + limit]), len(entries))

    async def entries(self, who: Principal, snapshot_id: str) -> Sequence[Entry]:
        """Return all files and links. Raises NotFound, Unavailable."""
        record = self._records.find(who, snapshot_id)
        try:
            async with self._turns.hold(who.user), self._lists:
                return await asyncio.to_thread(self._files.entries, record.id)
        except (DamagedSnapshot, ValueError):
            raise Unavailable("The files of the snapshot are damaged: upload it again") from None
        except OSError:  # It was deleted just now.
            raise NotFound(f"Snapshot {snapshot_id[:64]!r} not found") from None

    async def open(self, who: Principal, snapshot_id: str, path: str) -> OpenedFile:
        """Open a file. Raises NotFound, also for links and folders."""
        record = self._records.find(who, snapshot_id)
        try:
            file = await asyncio.to_thread(self._files.open_file, record.id, path)
            return OpenedFile(file, os.fstat(file.fileno()).st_size, record.id, FileReads())
        except OSError:
            raise NotFound(f"File {path[:256]!r} not found in the snapshot") from None


def _fitting(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The first entries that fit in one reply; at least one if there is any."""
    taken = 0
    for number, entry in enumerate(entries):
        taken += ENTRY_BYTES + len(entry.path.encode()) + len(entry.content)
        if taken > PART_BYTES and number:
            return entries[:number]
    return entries


@dataclass(frozen=True, slots=True)
class SnapshotOptions:
    limits: UnpackLimits
    keep_ms: int
    """Time after its last use when a snapshot is removed."""
    private: bool


UPKEEP_SECONDS = 3600
REMOVING_THREADS = 2
"""A snapshot may have a hundred thousand files."""
_UPKEEP = ""
"""In the place of a user."""

log = logging.getLogger(__name__)


class Snapshots:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        files: SnapshotFiles,
        options: SnapshotOptions,
        *,
        audit: Audit,
        usage: StorageUsage,
        named: Callable[[str | None], frozenset[str]],
    ) -> None:
        """`named` returns the ids that live tasks and experiments name, of one user or of all
        (`None`): these snapshots stay."""
        self._files = files
        self._options = options
        self._audit = audit
        self._named = named
        self._background = BackgroundWork()
        self._removing = UserThreads("snapshot-removals", REMOVING_THREADS)
        self.records = SnapshotRecords(store, usage, private=options.private)
        self.uploads = SnapshotUploads(
            self.records,
            files,
            options.limits,
            audit=audit,
            usage=usage,
            has_room=store.has_room,
            background=self._background,
        )
        self.copies = SnapshotCopies(self.records, files, has_room=store.has_room)
        self.upload = self.uploads.upload
        self.copy = self.copies.copy
        self.to_run = self.records.to_run
        self._parsing = WorkerThreads("project-file", 1)
        self.reads = SnapshotReads(self.records, files)

    @property
    def max_bytes(self) -> int:
        """The largest archive, packed or unpacked."""
        return self._options.limits.max_bytes

    async def load(self) -> None:
        """Read the records from the open store, and remove what an earlier server left behind."""
        await self.records.load(self._files)
        self.copies.loaded.set()

    def get(self, who: Principal, snapshot_id: str) -> Snapshot:
        """Return a snapshot and count it as used: the client is about to run it."""
        record = self.records.find(who, snapshot_id)
        return self.records.view(who, self.records.use(record, who.user))

    def list(self, who: Principal) -> list[Snapshot]:
        """Return all that `who` may see, newest first."""
        seen = [
            self.records.view(who, each) for each in self.records if self.records.may_see(who, each)
        ]
        return sorted(seen, key=lambda each: (each.created_at, each.id), reverse=True)

    async def project(self, user: str, record: Snapshot) -> ProjectFile:
        """Return the settings of a snapshot's fetchml.toml. They are read at the upload. Those of
        snapshots that another release read are read once more, one at a time for each user."""
        text, parsed = record.project_file, record.parsed
        if text is None:
            return NO_PROJECT
        if parsed is None or parsed.release != __version__:
            async with self.records.locks.hold(("fetchml.toml", user)):
                now = self.records.get(record.id)
                parsed = now.parsed if now is not None else None
                if parsed is None or parsed.release != __version__:
                    parsed = await self._parsing.run(
                        lambda _: submission.read_project(text, __version__)
                    )
                    self.records.parsed(record.id, parsed)
        return project_file.parsed_before(text, parsed)

    async def exists(self, who: Principal, snapshot_id: str) -> bool:
        """Return whether `who` may name it. It counts as used, so that it stays until then."""
        record = self.records.get(snapshot_id)
        if record is None or not self.records.may_see(who, record):
            return False
        self.records.use(record, who.user)
        return True

    async def delete(self, who: Principal, snapshot_id: str) -> None:
        """Delete a snapshot. On a private server one that others have uploaded too is deleted only
        for `who`."""
        self.get(who, snapshot_id)
        await self._background.run_to_completion(self._delete(who, snapshot_id))

    def old(self, who: Principal, used_before: int, user: str | None) -> Sequence[Snapshot]:
        """Return the snapshots that `who` may delete, that nothing live names, and that were last
        used before a time (milliseconds since the epoch, UTC). `user`: only those that nobody else
        has uploaded."""
        named = self._named(None)
        return [
            each
            for each in self.records
            if each.used_at < used_before
            and each.id not in named
            and (user is None or each.users == (user,))
            and self.records.may_delete(who, each)
        ]

    @contextlib.asynccontextmanager
    async def upkeep(self) -> AsyncIterator[None]:
        """While inside, unused snapshots are removed and times of use are stored, every hour."""

        async def work() -> None:
            await self.remove_unused()
            await self.records.save()

        try:
            async with every(UPKEEP_SECONDS, work, failure="the maintenance of snapshots failed"):
                yield
        finally:
            await self._background.wait()
            await self.records.save()

    async def remove_unused(self) -> None:
        """Remove what nothing live names and nobody has used for `keep_ms`."""

        def is_unused(record: Snapshot) -> bool:
            return record.used_at < self.records.clock() - self._options.keep_ms

        unused = {record.id for record in self.records if is_unused(record)}
        for snapshot_id in sorted(unused - self._named(None)) if unused else ():
            await self._background.run_to_completion(self._remove_if(snapshot_id, is_unused))
            log.info("unused snapshot removed", extra={"snapshot_id": snapshot_id})

    async def _delete(self, who: Principal, snapshot_id: str) -> None:
        only_own = self.records.hides_others(who)
        async with self.records.locks.hold(snapshot_id):
            record = self.records.find(who, snapshot_id)
            if not self.records.may_delete(who, record):
                raise Forbidden(
                    "Only an admin, or the only user who uploaded the snapshot, may delete it"
                )
            if snapshot_id in self._named(who.user if only_own else None):
                raise Conflict("The snapshot is in use by a live task or an experiment")
            left = snapshots.without(who.user, record)
            if only_own and left.users:
                await self.records.put(left)
            else:
                await self._remove(snapshot_id, who.user)
        await self._audit.done(who, Action.SNAPSHOT_DELETE, snapshot_id)

    async def _remove_if(self, snapshot_id: str, still: Callable[[Snapshot], bool]) -> None:
        async with self.records.locks.hold(snapshot_id):
            record = self.records.get(snapshot_id)
            if record is not None and still(record):
                await self._remove(snapshot_id, _UPKEEP)

    async def _remove(self, snapshot_id: str, user: str) -> None:
        await self.records.remove(snapshot_id)
        await self._removing.run(user, lambda _: self._files.remove(snapshot_id))
