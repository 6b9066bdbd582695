"""Hands changed time limits to the shims of attempts that are under way."""

import asyncio
import logging
from functools import partial

from fetchml.files.attempt_folder import FolderCall
from fetchml.files.task_files import TaskFiles
from fetchml.system import failpoints
from fetchml.system.background import BackgroundWork

AGAIN_SECONDS = 1.0
"""Before the second try to write a limit. It doubles with each further one."""
LONGEST_PAUSE_SECONDS = 30.0

log = logging.getLogger(__name__)


class LimitFiles:
    """Used from one event loop. A limit is durable in the store: it is written again by the next
    server if this one ends before."""

    def __init__(self, files: TaskFiles, look: FolderCall) -> None:
        """`look`: calls methods of attempts' folders."""
        self._files = files
        self._look = look
        self._wanted: dict[str, tuple[int, int]] = {}
        """Attempt and limit in seconds that are still to be written, by task id."""
        self._background = BackgroundWork()

    def change(self, task_id: str, attempt: int, seconds: int) -> None:
        """Write the limit of an attempt, again and again until it succeeds. 0: no limit."""
        is_active = task_id in self._wanted
        self._wanted[task_id] = attempt, seconds
        if not is_active:
            self._background.start(self._write(task_id))

    def forget(self, task_id: str) -> None:
        """The attempt is over: what is not written is needed no longer."""
        self._wanted.pop(task_id, None)

    async def close(self) -> None:
        await self._background.cancel()

    async def _write(self, task_id: str) -> None:
        pause = AGAIN_SECONDS
        while (wanted := self._wanted.get(task_id)) is not None:
            attempt, seconds = wanted
            failpoints.reach("limit_changed")
            folder = self._files.attempt(task_id, attempt)
            try:
                await self._look(partial(folder.change_limit, seconds * 1000))
            except OSError as error:
                log.warning("a time limit can't be written: %s", error, extra={"task_id": task_id})
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                if self._wanted.get(task_id) == wanted:
                    del self._wanted[task_id]
