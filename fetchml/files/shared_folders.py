"""Wakes coroutines that wait for files which other machines write: inotify does not report them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fetchml.files.folder_events import Changes, FolderEvents
from fetchml.system.background import every

GROWTH_SECONDS = 0.5
APPEARS_SECONDS = 30.0
"""In case that nobody calls `wake`."""


class SharedFolders(FolderEvents):
    def __init__(self) -> None:
        self._subscribed: dict[Path, set[Changes]] = {}

    @asynccontextmanager
    async def subscribe(self, folder: Path, *, writes: bool = False) -> AsyncIterator[Changes]:
        """Wake at times, and when `wake` is called for this folder. It need not exist."""
        changes = Changes()
        seconds = GROWTH_SECONDS if writes else APPEARS_SECONDS

        async def wake() -> None:
            changes.wake()

        here = self._subscribed.setdefault(folder, set())
        here.add(changes)
        try:
            async with every(seconds, wake, first=seconds, failure="no wake-up"):
                yield changes
        finally:
            here.discard(changes)
            if not here and self._subscribed.get(folder) is here:
                del self._subscribed[folder]

    def wake(self, folder: Path) -> None:
        """Wake all that wait for something in this folder."""
        for changes in self._subscribed.get(folder, ()):
            changes.wake()
