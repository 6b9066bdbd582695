"""Measurements of GPUs on nodes, from the records that attempts' own helpers write there.

They are read in the background, as those of other resources (node_usage.py).
"""

import logging
import time
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from fetchml.core.gpus.health import GpuReading
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.gpu_record import GpuRecord, read_gpus
from fetchml.files.layout import ATTEMPTS, TASKS
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.cluster import NodeReading
from fetchml.system.background import BackgroundWork

PAUSE_SECONDS = 5.0
"""At least, between two readings."""
STALE_SECONDS = 60.0
"""Time after which a record that does not change any more is of no use."""
MOST_RECORDS = 500
"""Records that are read at one time; of more attempts in turn."""

Key = tuple[str, int]
"""Task id and attempt."""
Found = tuple[str, GpuRecord]
"""The node, and the record."""

log = logging.getLogger(__name__)


class NodeGpus:
    """Used from one event loop."""

    def __init__(
        self, disk: SharedDisk, shared_dir: Path, *, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._disk = disk
        self._tasks = shared_dir / TASKS
        self._pause_seconds = pause_seconds
        self._known: dict[Key, tuple[Found, float]] = {}
        """The last record of each attempt, and when it was read first."""
        self._turn = 0
        self._next_at = 0.0
        self._is_reading = False
        self._background = BackgroundWork()

    def newest(self, attempts: Collection[Key]) -> Mapping[Key, NodeReading]:
        """Return the last measurements of the attempts' GPUs, where there are some. Begins to read
        again."""
        now, keys = time.monotonic(), list(attempts)
        if keys and not self._is_reading and now >= self._next_at:
            self._is_reading = True
            self._background.start(self._read(keys))
        readings = {}
        for key in keys:
            found, since = self._known.get(key, (None, 0.0))
            if found is not None and now - since < STALE_SECONDS:
                readings[key] = NodeReading(found[1].at, _readings(key[0], *found))
        return readings

    async def close(self) -> None:
        await self._background.wait()

    async def _read(self, keys: list[Key]) -> None:
        first = self._turn % len(keys)
        chosen = (keys[first:] + keys[:first])[:MOST_RECORDS]
        self._turn = first + len(chosen)
        folders = {key: self._tasks / key[0] / ATTEMPTS / str(key[1]) for key in chosen}
        try:
            found = await self._disk(partial(_read_all, folders))
        except OSError as error:
            log.info("the use of GPUs is not known: %s", error)
        else:
            now, live = time.monotonic(), set(keys)
            self._known = {key: known for key, known in self._known.items() if key in live}
            for key, each in found.items():
                known = self._known.get(key)
                if known is None or known[0][1].at != each[1].at:
                    self._known[key] = (each, now)
        finally:
            self._is_reading = False
            self._next_at = time.monotonic() + self._pause_seconds


def _read_all(folders: Mapping[Key, Path]) -> dict[Key, Found]:
    found = {}
    for key, path in folders.items():
        folder = AttemptFolder(path)
        (node, _), record = folder.node(), read_gpus(folder.run)
        if node is not None and record is not None:
            found[key] = (node, record)
    return found


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
