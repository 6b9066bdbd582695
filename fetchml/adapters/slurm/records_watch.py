"""Watches the records that shims write in the shared folder.

Writes of other hosts cause no inotify events, and polls of Slurm take longer with every job in its
queue. So one thread lists the folders of all running attempts, at an interval that grows with their
number.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from fetchml.adapters.slurm.follower import Followed
from fetchml.adapters.slurm.start_files import MOST_NAMES
from fetchml.files.shared_disk import SharedDisk, is_fault
from fetchml.files.untrusted import first_names
from fetchml.system.background import BackgroundWork

SECONDS = 0.5
"""Longest interval."""
LEAST_SECONDS = 0.1
FOLDER_SECONDS = 0.005
"""Interval for a few folders, and what each of them adds: at most 200 listings in a second."""
SHARE = 4
"""A pass that takes long is repeated after this many times as long."""
MOST_FOLDERS = 2_000
"""Folders listed in one pass, in turn if there are more."""
MOST_PENDING = 50
"""The same for jobs that were pending at the last poll of Slurm."""
RECORDS = frozenset({"claim", "started", "exit"})

log = logging.getLogger(__name__)


class RecordsWatch:
    """Used from one event loop."""

    def __init__(self, disk: SharedDisk, *, seconds: float = SECONDS) -> None:
        self._disk = disk
        self._seconds = seconds
        self._watched: dict[Path, Followed] = {}
        self._seen: dict[Path, frozenset[str]] = {}
        self._turn = 0
        self._background = BackgroundWork()

    async def open(self) -> None:
        """List the folders at intervals until `close`."""
        self._background.start(self._repeat())

    async def close(self) -> None:
        await self._background.cancel()

    @contextmanager
    def watching(self, folder: Path, followed: Followed) -> Iterator[None]:
        """While inside, set `followed.changed` when the attempt has a new record."""
        self._watched[folder] = followed
        try:
            yield
        finally:
            del self._watched[folder]
            self._seen.pop(folder, None)

    async def _repeat(self) -> None:
        while True:
            began, listed = time.monotonic(), 0
            try:
                listed = await self._list()
            except OSError as error:
                log.info("the records of attempts cannot be read: %s", error)
            except Exception:
                log.exception("the records of attempts cannot be read")
            pause = self._seconds
            if listed:
                pause = min(pause, LEAST_SECONDS + FOLDER_SECONDS * listed)
            await asyncio.sleep(max(pause, SHARE * (time.monotonic() - began)))

    async def _list(self) -> int:
        """Return how many folders were listed."""
        begun: list[Path] = []
        pending: list[Path] = []
        for folder, each in self._watched.items():
            is_pending = each.job is not None and each.job.is_pending
            (pending if is_pending else begun).append(folder)
        # Of those that are pending some have begun since the last poll of Slurm.
        chosen = self._next(begun, MOST_FOLDERS) + self._next(pending, MOST_PENDING)
        self._turn += 1
        if not chosen:
            return 0
        for folder, names in (await self._disk(partial(_records, chosen))).items():
            followed = self._watched.get(folder)
            if followed is not None and names != self._seen.get(folder, frozenset()):
                self._seen[folder] = names
                followed.changed.set()
        return len(chosen)

    def _next(self, folders: list[Path], most: int) -> list[Path]:
        """Return a part of them, in turn from one pass to the next."""
        first = self._turn * most % max(1, len(folders))
        return (folders[first:] + folders[:first])[:most]


def _records(folders: Sequence[Path]) -> dict[Path, frozenset[str]]:
    """Return the records of each attempt. Raises OSError if the disk fails, but not for what a task
    has done to its own folder."""
    records = {}
    for folder in folders:
        try:
            records[folder] = first_names(folder / "run", MOST_NAMES) & RECORDS
        except PermissionError:
            continue
        except OSError as error:
            if is_fault(error):
                raise
    return records
