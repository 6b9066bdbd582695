"""Which attempts were handed over as which array: one file for each array, on the shared disk.

The file is on the disk before the array is submitted, so that its tasks are found by the array's
name, whatever the server remembers. One sync is enough for all attempts of the array: their own
start files are not synced, and are written again should they be incomplete after a power failure.
A file that was not written to its end means that its array was not submitted.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from fetchml.adapters.slurm.job import task_name
from fetchml.files import untrusted
from fetchml.files.own_file import write_at_once
from fetchml.files.shared_disk import SharedDisk, is_fault

MOST_BYTES = 1 << 13
"""Largest file; those of the server take half of it."""
FILES_AT_ONCE = 500
"""Files that are read in one go."""
MOST_ATTEMPTS = 200_000
"""Attempts after which no more files are read: tasks of the same account can write any number."""

Attempt = tuple[str, int]
"""Task id and number."""

log = logging.getLogger(__name__)


class _Record(msgspec.Struct):
    tasks: dict[int, Attempt]
    """By the index in the array."""


class ArrayRecords:
    """The arrays of this server's attempts. Used from one event loop, except `write`."""

    def __init__(self, folder: Path, disk: SharedDisk) -> None:
        self.prefix = ""
        """Of the names of this server's arrays."""
        self._folder = folder
        self._disk = disk
        self._task_of: dict[Attempt, str] = {}
        """The name of an attempt's job as a task of an array."""
        self._left: Counter[str] = Counter()
        """Attempts of each array that were not dropped."""
        self._earlier: set[Attempt] = set()
        """Those that an earlier server wrote, until it is known which of them are live."""
        self._reading = asyncio.Lock()
        self._was_read = False

    def write(self, name: str, attempts: Mapping[int, Attempt]) -> None:
        """Write an array's file, by index; it is on the disk on return. In a thread. Raises
        OSError."""
        write_at_once(self._folder / name, msgspec.json.encode(_Record(dict(attempts))))

    def add(self, tasks: Mapping[Attempt, str]) -> None:
        """Note the tasks of arrays whose files are written."""
        self._task_of |= tasks
        self._left.update(map(_array_of, tasks.values()))

    async def read(self) -> None:
        """Read what an earlier server wrote, unless that was done. Raises OSError."""
        if not self._was_read:
            async with self._reading:
                await self._read_once()

    async def _read_once(self) -> None:
        if self._was_read:
            return
        names = await self._disk(partial(_names, self._folder, self.prefix))
        attempts: dict[Attempt, str] = {}
        for first in range(0, len(names), FILES_AT_ONCE):
            part = names[first : first + FILES_AT_ONCE]
            attempts |= await self._disk(partial(_read_all, self._folder, part))
            if len(attempts) >= MOST_ATTEMPTS:
                log.warning("limit of files in arrays/ reached: the others are not read")
                break
        self.add(attempts)
        self._earlier = set(attempts)
        self._was_read = True

    def task_of(self, attempt: Attempt) -> str:
        """Return the name of the attempt's job as a task of an array; empty if it was in none.
        After `read`."""
        return self._task_of.get(attempt, "")

    async def keep(self, live: Collection[Attempt]) -> set[str]:
        """Drop the attempts of earlier servers that are not in `live`; return the tasks of the
        others. Raises OSError."""
        await self.read()
        for attempt in self._earlier - set(live):
            await self.drop(attempt)
        self._earlier = set()
        return {task for task in map(self.task_of, live) if task}

    async def drop(self, attempt: Attempt) -> None:
        """Forget an attempt that is over, and remove the file of its array if it was the last.
        Raises OSError."""
        task = self._task_of.pop(attempt, None)
        if task is None:
            return
        array = _array_of(task)
        self._left[array] -= 1
        if not self._left[array]:
            del self._left[array]
            await self.remove(array)

    async def remove(self, array: str) -> None:
        """Remove an array's file, which no attempt needs. Raises OSError."""
        await self._disk(partial(untrusted.remove, self._folder / array))


def _names(folder: Path, prefix: str) -> list[str]:
    names = untrusted.first_names(folder, untrusted.MOST_ENTRIES)
    return [name for name in names if name.startswith(prefix)]


def _read_all(path: Path, names: Sequence[str]) -> dict[Attempt, str]:
    attempts: dict[Attempt, str] = {}
    folder = os.open(path, untrusted.FOLDER)
    try:
        for name in names:
            tasks = _read(folder, name)
            attempts |= {tasks[index]: task_name(name, index) for index in tasks}
            if not tasks:
                untrusted.remove(path / name)
    finally:
        os.close(folder)
    return attempts


def _array_of(task: str) -> str:
    return task.rpartition(".")[0]


def _read(folder: int, name: str) -> dict[int, Attempt]:
    """Empty if the file was not written to its end, or was replaced: tasks of the same account can
    do so. Raises OSError if the disk fails."""
    try:
        content = untrusted.read_regular(folder, name, 0, MOST_BYTES)
        return msgspec.json.decode(content, type=_Record).tasks
    except msgspec.DecodeError:
        return {}
    except OSError as error:
        if is_fault(error):
            raise
        return {}
