"""Use of resources and GPUs by attempts, from the records that are written on their nodes.

The records are read in the background, so that nobody waits for the shared folder: a call returns
what was read after the previous call.
"""

import logging
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from fetchml.core.gpus.health import GpuReading
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.gpu_record import GpuRecord, read_gpus
from fetchml.files.layout import ATTEMPTS, TASKS
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.cluster import NodeReading
from fetchml.ports.launcher import LaunchSpec, ResourceUse
from fetchml.system.background import BackgroundWork

MOST_RECORDS = 500
"""Records that are read at one time; of more attempts in turn."""
GPU_PAUSE_SECONDS = 5.0
"""Least time between two readings of the records of GPUs."""
STALE_SECONDS = 60.0
"""Age at which an unchanged record of GPUs is ignored."""

Key = TypeVar("Key", bound=Hashable)
Record = TypeVar("Record")
Attempt = tuple[str, int]
"""Task id and number."""

log = logging.getLogger(__name__)


class _Records(Generic[Key, Record]):
    """The last record of each attempt. Used from one event loop."""

    def __init__(
        self,
        disk: SharedDisk,
        read: Callable[[Sequence[Key]], dict[Key, Record]],
        pause_seconds: float = 0.0,
    ) -> None:
        """`read`: returns the records that exist. Called in a thread; raises OSError."""
        self._disk = disk
        self._read = read
        self._pause_seconds = pause_seconds
        self._last: dict[Key, Record] = {}
        self._turn = 0
        self._next_at = 0.0
        self._is_reading = False
        self._background = BackgroundWork()

    def newest(self, keys: list[Key]) -> Mapping[Key, Record]:
        """Return the records as last read, and start to read them again."""
        if keys and not self._is_reading and time.monotonic() >= self._next_at:
            self._is_reading = True
            self._background.start(self._refresh(keys))
        return self._last

    async def close(self) -> None:
        await self._background.wait()

    async def _refresh(self, keys: list[Key]) -> None:
        first = self._turn % len(keys)
        chosen = (keys[first:] + keys[:first])[:MOST_RECORDS]
        self._turn = first + len(chosen)
        try:
            records = await self._disk(partial(self._read, chosen))
        except OSError as error:
            log.info("records of nodes cannot be read: %s", error)
        else:
            live = set(keys)
            self._last = {key: each for key, each in self._last.items() if key in live} | records
        finally:
            self._is_reading = False
            self._next_at = time.monotonic() + self._pause_seconds


class NodeUsage:
    """What the processes of attempts use, from the records of their shims."""

    def __init__(self, disk: SharedDisk) -> None:
        self._records = _Records(disk, _read_usage)

    def newest(self, runs: Sequence[LaunchSpec]) -> list[ResourceUse | None]:
        """Return the last measurement of each attempt; `None` if it has no record."""
        folders = [run.folder for run in runs]
        records = self._records.newest(folders)
        return [records.get(folder) for folder in folders]

    async def close(self) -> None:
        await self._records.close()


def _read_usage(folders: Sequence[Path]) -> dict[Path, ResourceUse]:
    records = {folder: AttemptFolder(folder).usage() for folder in folders}
    return {folder: ResourceUse(**use) for folder, use in records.items() if use is not None}


class NodeGpus:
    """Measurements of the GPUs of attempts, from the records of their own helpers."""

    def __init__(
        self, disk: SharedDisk, shared_dir: Path, *, pause_seconds: float = GPU_PAUSE_SECONDS
    ) -> None:
        self._tasks = shared_dir / TASKS
        self._records = _Records(disk, self._read, pause_seconds)
        self._first_read: dict[Attempt, tuple[str, float]] = {}
        """The mark of each attempt's last measurement, and when it was read first."""

    def newest(self, attempts: Collection[Attempt]) -> Mapping[Attempt, NodeReading]:
        """Return the last measurements of the attempts' GPUs, where there are some."""
        keys, now = list(attempts), time.monotonic()
        records = self._records.newest(keys)
        self._first_read = {
            key: seen
            if (seen := self._first_read.get(key)) is not None and seen[0] == reading.mark
            else (reading.mark, now)
            for key, reading in records.items()
        }
        return {
            key: records[key]
            for key in keys
            if key in records and now - self._first_read[key][1] < STALE_SECONDS
        }

    async def close(self) -> None:
        await self._records.close()

    def _read(self, attempts: Sequence[Attempt]) -> dict[Attempt, NodeReading]:
        readings = {}
        for task_id, number in attempts:
            folder = AttemptFolder(self._tasks / task_id / ATTEMPTS / str(number))
            (node, _), record = folder.node(), read_gpus(folder.run)
            if node is not None and record is not None:
                gpus = _readings(task_id, node, record)
                readings[task_id, number] = NodeReading(record.at, gpus)
        return readings


def _readings(task_id: str, node: str, record: GpuRecord) -> list[GpuReading]:
    return [
        GpuReading(
            f"{node}:{number}",
            index=str(number),
            memory_mb=gpu.memory_mb or 0,
            used_mb=gpu.used_mb,
            temperature_c=gpu.temperature_c,
            utilisation_percent=gpu.utilisation_percent,
            task_use=None if gpu.peak_percent is None else {task_id: gpu.peak_percent},
            power_w=gpu.power_w,
        )
        for number, gpu in record.gpus.items()
    ]
