"""Disk usage of the volumes that have a limit.

A volume has several users and other writers, so its files show no owner: no user is charged, and no
running task is ended. Instead no further task that writes to a full volume starts.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fetchml.core.model import Principal
from fetchml.core.requests import volumes
from fetchml.core.requests.volumes import Volume
from fetchml.core.storage import NOTHING, Used
from fetchml.errors import FieldViolation, StorageQuotaReached, ValidationFailed
from fetchml.files.disk_usage import MOST_ENTRIES, measure
from fetchml.system.background import every
from fetchml.system.threads import WorkerThread

MEASURE_SECONDS = 60


class VolumeReport(NamedTuple):
    name: str
    read_only: bool
    max_bytes: int
    """0: no limit."""
    used: Used | None
    """`None` if it is not measured: it has no limit, or the server has just started."""


class VolumeUsage:
    """Used from one event loop; `room_fault` from any thread."""

    def __init__(self, by_name: Mapping[str, Volume], most_files: int = MOST_ENTRIES) -> None:
        """`by_name`: the volumes of the settings. `most_files`: files and folders of a
        volume beyond which the rest is not counted."""
        self.by_name = by_name
        self._most_files = most_files
        self._used: dict[str, Used] = {}
        self.refused = 0
        """Requests rejected for a full volume since the start."""

    def room_fault(self, names: Sequence[str]) -> str | None:
        """Return why a task can't write to these known volumes now; `None` if it can."""
        for name in names:
            used = self._used.get(name, NOTHING)
            if fault := volumes.room_fault(name, self.by_name[name], used, self._most_files):
                return fault
        return None

    def require(self, user: str, names: Sequence[str]) -> None:
        """Raises ValidationFailed if a user's tasks can't have these volumes, StorageQuotaReached
        if they can't write to one of them now."""
        if fault := volumes.fault(names, user, self.by_name):
            raise ValidationFailed([FieldViolation("volumes", fault)])
        if full := self.room_fault(names):
            self.refused += 1
            raise StorageQuotaReached(full)

    def seen_by(self, who: Principal) -> list[VolumeReport]:
        """Return the volumes that the caller's tasks may mount."""
        return [
            VolumeReport(name, volume.read_only, volume.max_bytes, self._used.get(name))
            for name, volume in self.by_name.items()
            if volume.is_for(who.user)
        ]

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Measure each volume with a limit once a minute, while inside."""
        async with AsyncExitStack() as stack:
            for name, volume in self.by_name.items():
                if volume.max_bytes:
                    # One for each: a network disk that hangs holds up neither the others nor the
                    # end of the server.
                    thread = WorkerThread(f"volume {name}")
                    stack.callback(thread.end)
                    measure_volume = partial(self._measure, thread, name, Path(volume.path))
                    failure = f"measuring the volume {name} failed"
                    await stack.enter_async_context(
                        every(MEASURE_SECONDS, measure_volume, failure=failure)
                    )
            yield

    async def _measure(self, thread: WorkerThread, name: str, path: Path) -> None:
        self._used[name] = await thread.call(partial(_measured, path, self._most_files))


def _measured(path: Path, most_files: int) -> Used:
    """Raises OSError if the volume itself can't be read: it is not empty for that."""
    os.scandir(path).close()
    return measure(path, most_files, pause=True)
