"""Sees soon what shims record on the shared folder, where no event of the file system tells it.

One thread looks at the folders of attempts in one go, first of those whose job has begun. A poll of
Slurm takes the longer the more jobs it has, those of others too; this does not.
"""

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from fetchml.adapters.slurm.follower import Followed
from fetchml.files.shared_disk import SharedDisk

SECONDS = 0.5
"""Between two looks."""
SHARE = 4
"""A look that takes long is repeated after this many times as long."""
MOST_FOLDERS = 2_000
"""In one look; of more in turn."""
MOST_PENDING = 50
"""The same for jobs that were pending when Slurm was asked last."""
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
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Look until `close`."""
        self._looking = asyncio.create_task(self._repeat())

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

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
            began = time.monotonic()
            try:
                await self._look()
            except OSError as error:
                log.info("the records of attempts can't be read: %s", error)
            except Exception:
                log.exception("the records of attempts can't be read")
            await asyncio.sleep(max(self._seconds, SHARE * (time.monotonic() - began)))

    async def _look(self) -> None:
        begun: list[Path] = []
        pending: list[Path] = []
        for folder, each in self._watched.items():
            is_pending = each.job is not None and each.job.is_pending
            (pending if is_pending else begun).append(folder)
        # Of those that are pending some have begun since the last poll of Slurm.
        chosen = self._next(begun, MOST_FOLDERS) + self._next(pending, MOST_PENDING)
        self._turn += 1
        if not chosen:
            return
        for folder, names in (await self._disk(partial(_records, chosen))).items():
            followed = self._watched.get(folder)
            if followed is not None and names != self._seen.get(folder):
                self._seen[folder] = names
                followed.changed.set()

    def _next(self, folders: list[Path], most: int) -> list[Path]:
        """A part of them, in turn from one look to the next."""
        first = self._turn * most % max(1, len(folders))
        return (folders[first:] + folders[:first])[:most]


def _records(folders: Sequence[Path]) -> dict[Path, frozenset[str]]:
    """Return the records of each attempt. A listing is read again from a network disk, where the
    absence of a file is remembered."""
    found = {}
    for folder in folders:
        try:
            with os.scandir(folder / "run") as entries:
                found[folder] = frozenset(entry.name for entry in entries) & RECORDS
        except FileNotFoundError:
            continue
    return found
