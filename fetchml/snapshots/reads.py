"""Reading the files of a snapshot: its list, and single files, to compare two of them."""

import asyncio
import os
from collections.abc import Sequence
from typing import NamedTuple

from fetchml.core.model import Principal
from fetchml.core.requests.listing import page_fault
from fetchml.core.requests.snapshot import Entry
from fetchml.errors import BadRequest, NotFound, Unavailable
from fetchml.files.reads import FileReads, OpenedFile
from fetchml.pages import PART_BYTES
from fetchml.snapshots.files import DamagedSnapshot, SnapshotFiles
from fetchml.snapshots.records import SnapshotRecords
from fetchml.system.locks import KeyedLocks

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
        found = self._records.find(who, snapshot_id)
        try:
            async with self._turns.hold(who.user), self._lists:
                entries = await asyncio.to_thread(self._files.entries, found.id)
        except (DamagedSnapshot, ValueError):
            raise Unavailable("The files of the snapshot are damaged: upload it again") from None
        except OSError:  # It was deleted just now.
            raise NotFound(f"There is no snapshot {snapshot_id[:64]!r}") from None
        return FileList(_fitting(entries[offset : offset + limit]), len(entries))

    async def open(self, who: Principal, snapshot_id: str, path: str) -> OpenedFile:
        """Open a file. Raises NotFound, also for links and folders."""
        found = self._records.find(who, snapshot_id)
        try:
            file = await asyncio.to_thread(self._files.open_file, found.id, path)
            return OpenedFile(file, os.fstat(file.fileno()).st_size, found.id, FileReads())
        except OSError:
            raise NotFound(f"The snapshot has no file {path[:256]!r}") from None


def _fitting(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The first entries that fit in one reply; at least one if there is any."""
    taken = 0
    for number, entry in enumerate(entries):
        taken += ENTRY_BYTES + len(entry.path.encode()) + len(entry.content)
        if taken > PART_BYTES and number:
            return entries[:number]
    return entries
