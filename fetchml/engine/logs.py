"""Logs: read and followed in parts, searched, and described."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

from fetchml.core.model import ENDED, Principal, Task
from fetchml.core.requests.logs import LogRange, LogSearch
from fetchml.engine.feed import Feed
from fetchml.engine.tasks.tasks import Tasks
from fetchml.errors import BadRequest
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.folder_events import Changes, FolderEvents
from fetchml.files.log_search import ReadLog, last_lines, search_backward, search_forward
from fetchml.files.reads import FileReads
from fetchml.files.task_files import TaskFiles
from fetchml.system.threads import UserThreads
from fetchml.views import LogChunk, LogInfo, LogMatch, LogMatches, LogStart, LogTime

THREADS = 2

T = TypeVar("T")


class LogThreads:
    """A task decides how long a search in its log takes, up to a limit. So searches have threads of
    their own, and never delay other work."""

    def __init__(self, reads: FileReads) -> None:
        self._reads = reads
        self._threads = UserThreads("log-search", THREADS)

    async def run(self, user: str, folder: AttemptFolder, work: Callable[[ReadLog], T]) -> T:
        """Return what `work` returns, which reads the folder's log with its argument. It ends at
        the next read when the caller is cancelled. Raises Unavailable."""

        def reading(check: Callable[[], None]) -> T:
            def read(offset: int, size: int) -> tuple[int, bytes]:
                check()
                return folder.read_log(offset, size)

            return work(read)

        return await self._reads.long(folder.run, self._threads.run(user, reading))


MAX_TIMES = 1000


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


CHUNK_BYTES = 256 * 1024
PAUSE_SECONDS = 0.05
"""Shortest time between two wake-ups by a command that writes without a pause."""


class TaskLogs:
    """The logs of the tasks that a caller may see. Raises BadRequest, NotFound, Unavailable."""

    def __init__(
        self,
        tasks: Tasks,
        files: TaskFiles,
        threads: LogThreads,
        watch: FolderEvents,
        feed: Feed,
        clock: Callable[[], int],
    ) -> None:
        self._tasks = tasks
        self._files = files
        self._threads = threads
        self._watch = watch
        self._feed = feed
        self._clock = clock

    async def tail(self, task: Task) -> str | None:
        """Return the last 64 KiB that a task wrote, for replies that show the task; `None` if it
        has written nothing."""
        return await self._files.output(task)

    async def info(self, who: Principal, task_id: str, wanted: LogRange) -> LogInfo:
        """Return the bounds of a log, and the times of the range."""
        task, number, folder = await self._find(who, task_id, wanted)
        work = partial(_info, folder, task, number, wanted, self._clock())
        return await self._files.reads(work)

    async def search(self, who: Principal, task_id: str, wanted: LogSearch) -> LogMatches:
        """Return the next matches."""
        _, number, folder = await self._find(who, task_id, wanted)
        work = partial(_search, folder, number, wanted, self._clock())
        return await self._threads.run(who.user, folder, work)

    async def start(self, who: Principal, task_id: str, wanted: LogRange) -> LogStart:
        """Return where a range begins. Finding the last lines is a search."""
        _, number, folder = await self._find(who, task_id, wanted)
        work = partial(_start, folder, number, wanted, self._clock())
        if wanted.tail is None:
            return await self._files.reads(partial(work, folder.read_log))
        return await self._threads.run(who.user, folder, work)

    def read(
        self,
        who: Principal,
        task_id: str,
        wanted: LogRange = LogRange(),  # noqa: B008  # frozen
        *,
        start: LogStart | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[LogChunk]:
        """Yield a range of the log, beginning at `start`; if that is `None`, the start is found.

        With `follow` until the attempt has ended, and if the range names no attempt on through
        later ones until the task has ended. The stream fails once the caller may no longer see
        the task, and ends early when the server shuts down.
        """
        _require_valid(wanted)
        return self._chunks(who, task_id, wanted, start, follow)

    async def _chunks(
        self, who: Principal, task_id: str, wanted: LogRange, start: LogStart | None, follow: bool
    ) -> AsyncGenerator[LogChunk]:
        if start is None:
            start = await self.start(who, task_id, wanted)
        number, offset, left = start.attempt, start.offset, wanted.limit
        while True:
            async with AsyncExitStack() as stack:
                folder = self._files.attempt((await self._tasks.get(who, task_id)).id, number)
                changes: Changes | None = None
                while True:
                    seen = self._feed.last_seq
                    task = await self._tasks.get(who, task_id)
                    over = task.status in ENDED or task.attempt > number
                    if (
                        follow
                        and not over
                        and changes is None
                        and await self._files.reads(folder.run.is_dir)
                    ):
                        subscription = self._watch.subscribe(folder.run, writes=True)
                        changes = await stack.enter_async_context(subscription)
                    async for chunk in _rest(self._files.reads, folder, number, offset, left):
                        offset = chunk.offset + len(chunk.data)
                        left = left if left is None else left - len(chunk.data)
                        yield chunk
                    if left == 0:
                        return
                    if over or not follow or self._feed.closed:
                        break
                    await self._news(task.id, seen, changes)
            if not over or not follow or wanted.attempt is not None or task.attempt <= number:
                return
            number, offset = number + 1, offset if number == 0 else 0

    async def _find(
        self, who: Principal, task_id: str, wanted: LogRange | LogSearch
    ) -> tuple[Task, int, AttemptFolder]:
        """Return the task, and the number and the folder of the attempt that is read."""
        _require_valid(wanted)
        task = await self._tasks.get(who, task_id)
        number = wanted.attempt if wanted.attempt is not None else task.attempt
        return task, number, self._files.attempt(task.id, number)

    async def _news(self, task_id: str, seen: int, changes: Changes | None) -> None:
        """Return when the folder or the task has changed."""
        waits = [asyncio.ensure_future(self._task_changed(task_id, seen))]
        if changes is not None:
            waits.append(asyncio.ensure_future(changes.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if changes is not None:
            await asyncio.sleep(PAUSE_SECONDS)

    async def _task_changed(self, task_id: str, seen: int) -> None:
        while not self._feed.closed:
            await self._feed.beyond(seen)
            news = self._feed.after(seen, limit=10_000)
            if news is None or any(change.task.id == task_id for change in news):
                return
            seen = news[-1].seq if news else seen


def _require_valid(wanted: LogRange | LogSearch) -> None:
    if fault := wanted.fault():
        raise BadRequest(fault)


async def _rest(
    reads: FileReads, folder: AttemptFolder, number: int, offset: int, limit: int | None
) -> AsyncGenerator[LogChunk]:
    """Yield what the log holds now, from `offset`, `limit` bytes at most."""
    left = limit
    while left is None or left > 0:
        size = CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)
        start, data = await reads(partial(folder.read_log, offset, size))
        if not data:
            return
        yield LogChunk(number, start, data)
        offset = start + len(data)
        left = left if left is None else left - len(data)


def _start(
    folder: AttemptFolder, number: int, wanted: LogRange, now: int, read: ReadLog
) -> LogStart:
    first, end = folder.log_bounds()
    offset = max(first, wanted.offset or 0)
    if wanted.tail is not None:
        offset = max(offset, last_lines(read, wanted.tail, first, end))
    if wanted.since is not None:
        offset = max(offset, folder.log_times(now, end).offset_at(wanted.since))
    return LogStart(number, offset, end)
