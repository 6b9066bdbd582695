"""Use of resources by attempts, from the records that their shims write on the nodes.

The records are read in the background, so that nobody waits for the shared folder: what is returned
was read after the last question.
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import LaunchSpec, ResourceUse
from fetchml.system.background import BackgroundWork

MOST_RECORDS = 500
"""Records that are read at one time; of more attempts in turn."""

log = logging.getLogger(__name__)


class NodeUsage:
    """Used from one event loop."""

    def __init__(self, disk: SharedDisk) -> None:
        self._disk = disk
        self._known: dict[Path, ResourceUse] = {}
        self._turn = 0
        self._is_reading = False
        self._background = BackgroundWork()

    def newest(self, runs: Sequence[LaunchSpec]) -> list[ResourceUse | None]:
        """Return the last measurement of each attempt; `None` if it has no record. Begins to read
        again."""
        folders = [run.folder for run in runs]
        known = [self._known.get(folder) for folder in folders]
        if folders and not self._is_reading:
            self._is_reading = True
            self._background.start(self._read(folders))
        return known

    async def close(self) -> None:
        await self._background.wait()

    async def _read(self, folders: list[Path]) -> None:
        first = self._turn % len(folders)
        chosen = (folders[first:] + folders[:first])[:MOST_RECORDS]
        self._turn = first + len(chosen)
        try:
            found = await self._disk(partial(_read_all, chosen))
        except OSError as error:
            log.info("the use of tasks is not known: %s", error)
        else:
            live = set(folders)
            kept = {folder: use for folder, use in self._known.items() if folder in live}
            self._known = kept | found
        finally:
            self._is_reading = False


def _read_all(folders: Sequence[Path]) -> dict[Path, ResourceUse]:
    found = {folder: AttemptFolder(folder).usage() for folder in folders}
    return {folder: ResourceUse(**use) for folder, use in found.items() if use is not None}
