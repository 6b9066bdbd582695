"""The records of snapshots: the users who uploaded each, and its last use."""

import asyncio
import logging
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from fetchml.core import permissions, snapshots
from fetchml.core.model import Principal
from fetchml.core.snapshots import ParsedFile, Snapshot
from fetchml.errors import NotFound
from fetchml.files.storage_usage import StorageUsage
from fetchml.ports.store import Store
from fetchml.records import RecordSet
from fetchml.snapshots.files import SnapshotFiles
from fetchml.system.clock import Clock
from fetchml.system.locks import KeyedLocks

KIND = "snapshot"
USE_COUNTS_MS = 3_600_000
"""The time of the last use is stored with this precision."""

log = logging.getLogger(__name__)


class SnapshotRecords:
    """All snapshots, and their share of each user's storage. Used from one event loop."""

    def __init__(self, store: Store, usage: StorageUsage, *, private: bool) -> None:
        self._records = RecordSet(store, KIND, Snapshot, lambda each: each.id)
        self._usage = usage
        self._private = private
        self._unsaved: set[str] = set()
        self.clock: Callable[[], int] = Clock()
        self.locks = KeyedLocks()
        """By id: held from reading a record to storing it, and while its tree comes or goes."""

    async def load(self, files: SnapshotFiles) -> None:
        """Read the records from the open store, and remove trees without one."""
        await self._records.load()
        here = await asyncio.to_thread(files.open, self._records.ids())
        for snapshot_id in self._records.ids() - here:
            log.error("a snapshot's files were not found", extra={"snapshot_id": snapshot_id})
            await self._records.remove(snapshot_id)
        for record in map(snapshots.with_disk_bytes, list(self._records)):
            self._records.remember(record)
            self._usage.snapshot_changed(None, record)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def get(self, snapshot_id: str) -> Snapshot | None:
        return self._records.get(snapshot_id)

    def may_see(self, who: Principal, record: Snapshot) -> bool:
        return permissions.may_see_snapshot(who, record.users, private=self._private)

    def may_delete(self, who: Principal, record: Snapshot) -> bool:
        return permissions.may_delete_snapshot(who, record.users, private=self._private)

    def find(self, who: Principal, snapshot_id: str) -> Snapshot:
        """Return the snapshot if `who` may see it. Raises NotFound."""
        record = self.get(snapshot_id)
        if record is None or not self.may_see(who, record):
            raise NotFound(f"Snapshot {snapshot_id[:64]!r} not found")
        return record

    def to_run(self, user: str, snapshot_id: str) -> Snapshot | None:
        """Return the snapshot and count it as used. `None` if the user's tasks may not run it: it
        does not exist, or on a private server the user has not uploaded it."""
        record = self.get(snapshot_id)
        if record is None or (self._private and user not in record.users):
            return None
        return self.use(record, user)

    def view(self, who: Principal, record: Snapshot) -> Snapshot:
        """Return the snapshot without the uploads of others, if `who` may not learn of them."""
        if not self.hides_others(who):
            return record
        return snapshots.as_seen_by(who.user, record)

    def hides_others(self, who: Principal) -> bool:
        return not permissions.sees_all(who, private=self._private)

    def use(self, record: Snapshot, user: str) -> Snapshot:
        """Count the snapshot as used now; stored by `save`."""
        now = self.clock()
        upload = record.uploads.get(user)
        if now - (upload or record).used_at >= USE_COUNTS_MS:
            uploads = record.uploads
            if upload is not None:
                uploads = {**uploads, user: replace(upload, used_at=now)}
            record = replace(record, used_at=now, uploads=uploads)
            self._records.remember(record)
            self._unsaved.add(record.id)
        return record

    def parsed(self, snapshot_id: str, parsed: ParsedFile) -> None:
        """Keep what this release reads in the fetchml.toml; stored by `save`."""
        if (record := self.get(snapshot_id)) is not None:
            self._records.remember(replace(record, parsed=parsed))
            self._unsaved.add(snapshot_id)

    async def save(self) -> None:
        """Store changes that may be lost in a crash."""
        while self._unsaved:
            snapshot_id = self._unsaved.pop()
            async with self.locks.hold(snapshot_id):
                if record := self.get(snapshot_id):
                    await self.put(record)

    async def put(self, record: Snapshot) -> None:
        """Add or replace a record; durable on return."""
        before = self.get(record.id)
        await self._records.put(record)
        self._usage.snapshot_changed(before, record)

    async def remove(self, snapshot_id: str) -> None:
        """Remove a record; durable on return."""
        # From memory first: while its tree goes, no task may find it.
        self._usage.snapshot_changed(self._records.forget(snapshot_id), None)
        await self._records.remove(snapshot_id)
