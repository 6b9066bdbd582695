"""Describes the log of an attempt, and searches it."""

from collections.abc import Callable
from functools import partial

from fetchml.core.model import ENDED, Task
from fetchml.core.requests.logs import LogRange, LogSearch
from fetchml.engine.logs.threads import LogThreads
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.log_search import ReadLog, search_backward, search_forward
from fetchml.files.task_files import TaskFiles
from fetchml.views import LogInfo, LogMatch, LogMatches, LogTime

MAX_TIMES = 1000


class LogSearcher:
    def __init__(self, files: TaskFiles, threads: LogThreads, clock: Callable[[], int]) -> None:
        self._files = files
        self._threads = threads
        self._clock = clock

    async def info(self, task: Task, wanted: LogRange) -> LogInfo:
        """Return the bounds of a log, and the times of its part."""
        number = wanted.attempt if wanted.attempt is not None else task.attempt
        folder = self._files.attempt(task.id, number)
        work = partial(_info, folder, task, number, wanted, self._clock())
        return await self._files.reads(work)

    async def search(self, task: Task, wanted: LogSearch, user: str) -> LogMatches:
        """Return the next matches."""
        number = wanted.attempt if wanted.attempt is not None else task.attempt
        folder = self._files.attempt(task.id, number)
        work = partial(_search, folder, number, wanted, self._clock())
        return await self._threads.run(user, folder, work)


def _info(folder: AttemptFolder, task: Task, number: int, wanted: LogRange, now: int) -> LogInfo:
    first, end = folder.log_bounds()
    low = max(first, wanted.offset or 0)
    high = end if wanted.limit is None else min(end, low + wanted.limit)
    times = folder.log_times(now, end).between(low, high, MAX_TIMES)
    return LogInfo(
        task_id=task.id,
        attempt=number,
        attempts=task.attempt,
        offset=first,
        end=end,
        may_grow=task.status not in ENDED and number >= task.attempt,
        times=tuple(LogTime(time.at, time.offset) for time in times),
    )


def _search(
    folder: AttemptFolder, number: int, wanted: LogSearch, now: int, read: ReadLog
) -> LogMatches:
    first, end = folder.log_bounds()
    text = wanted.text.encode(errors="replace")
    if wanted.backwards:
        high = end if wanted.offset is None else min(end, wanted.offset)
        found = search_backward(
            read, text, first, high, wanted.limit, ignore_case=wanted.ignore_case
        )
    else:
        low = max(first, wanted.offset or 0)
        found = search_forward(read, text, low, end, wanted.limit, ignore_case=wanted.ignore_case)
    times = folder.log_times(now, end)
    matches = []
    for match in found.matches:
        written = times.between(match.offset, match.offset + 1, 1)
        matches.append(
            LogMatch(
                match.offset,
                match.line_offset,
                match.text.decode(errors="replace"),
                written[0].at if written else None,
            )
        )
    return LogMatches(number, tuple(matches), found.next_offset)
