"""Wakes coroutines that wait for files which other machines write: inotify does not report them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fetchml.files.folder_events import Changes, FolderEvents

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

        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def wake_at_times() -> None:
            nonlocal timer
            changes.wake()
            timer = loop.call_later(seconds, wake_at_times)

        timer = loop.call_later(seconds, wake_at_times)
        here = self._subscribed.setdefault(folder, set())
        here.add(changes)
        try:
            yield changes
        finally:
            timer.cancel()
            here.discard(changes)
            if not here and self._subscribed.get(folder) is here:
                del self._subscribed[folder]

    def wake(self, folder: Path) -> None:
        """Wake all that wait for something in this folder."""
        for changes in self._subscribed.get(folder, ()):
            changes.wake()
