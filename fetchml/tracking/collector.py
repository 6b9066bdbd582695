"""Follows the outputs of running tasks, and logs the metrics in them to each task's own run.

`/outputs` is looked at every two seconds: that works on a disk of this host and on one that a
cluster shares, and costs nothing where no file grows. A restart of the server reads the files of
running attempts again from their beginning; points that are stored already add nothing.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from fetchml.attempts.hosts import TaskHost
from fetchml.core.model import ENDED, Change, FailureReason, Principal, Role, Status, Task
from fetchml.core.tracking import (
    DEFAULT_EXPERIMENT,
    MAX_POINTS_OF_CALL,
    MAX_RUN_NAME,
    MAX_TAG_VALUE,
    Point,
    RunStatus,
    run_of_task,
)
from fetchml.errors import DiskFull, RequestError, Unavailable
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.system.background import BackgroundWork
from fetchml.tracking.metric_files import MetricFiles
from fetchml.tracking.tracking_service import Tracking

LOOK_SECONDS = 2.0
SHARE = 4
"""While there is more to read, a look is followed by a pause of its own length times this."""
LAST_SECONDS = 60.0
"""Longest time after an attempt's end until its files are read."""
LOOKS_AT_ONCE = 2
UNREAD_TAG = "fetchml.unread"
"""Tag of a run with the files that were not read to their ends, and why."""

log = logging.getLogger(__name__)


class Collector:
    """Used from one event loop."""

    def __init__(
        self,
        tracking: Tracking,
        host: TaskHost,
        find: Callable[[str], Awaitable[Task | None]],
        *,
        clock: Callable[[], int],
        enabled: bool = True,
    ) -> None:
        """`find` returns any task. `enabled`: false if no file is read."""
        self._tracking = tracking
        self._host = host
        self._find = find
        self._clock = clock
        self._enabled = enabled
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._background = BackgroundWork()

    @asynccontextmanager
    async def following(self, task: Task, folder: AttemptFolder) -> AsyncIterator[None]:
        """Follow an attempt's outputs while inside, and read what is left on the way out. No
        failure of it is one of the attempt."""
        if not self._enabled or task.service:
            yield
            return
        following = _Following(self._tracking, self._host, self._looks, task, folder, self._clock)
        work = asyncio.create_task(following.run())
        try:
            yield
            following.ended.set()
            await asyncio.wait({work}, timeout=LAST_SECONDS)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def committed(self, changes: Sequence[Change]) -> None:
        """End the runs of tasks that have ended, in order of the changes."""
        for change in changes:
            task = change.task
            if task.status in ENDED and self._tracking.has_unfinished(task.id):
                self._background.start(self._end_runs(task))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End, at the beginning, runs of tasks whose ends an earlier server missed."""
        self._background.start(self._end_missed())
        try:
            yield
        finally:
            await self._background.cancel()

    async def _end_missed(self) -> None:
        for task_id in self._tracking.unfinished_tasks():
            task = await self._find(task_id)
            if task is None:
                await self._tracking.end_runs(task_id, RunStatus.KILLED, self._clock())
            elif task.status in ENDED:
                await self._end_runs(task)

    async def _end_runs(self, task: Task) -> None:
        status = RunStatus.FINISHED
        if task.status is Status.FAILED:
            cancelled = task.failure_reason is FailureReason.CANCELLED
            status = RunStatus.KILLED if cancelled else RunStatus.FAILED
        try:
            await self._tracking.end_runs(task.id, status, task.ended_at or self._clock())
        except RequestError as error:
            log.warning("runs of a task are not ended: %s", error, extra={"task_id": task.id})


class _Following:
    """One attempt."""

    def __init__(
        self,
        tracking: Tracking,
        host: TaskHost,
        looks: asyncio.Semaphore,
        task: Task,
        folder: AttemptFolder,
        clock: Callable[[], int],
    ) -> None:
        self.ended = asyncio.Event()
        """Set when no process of the attempt is left."""
        self._tracking = tracking
        self._host = host
        self._looks = looks
        self._task = task
        self._files = MetricFiles(folder)
        self._clock = clock
        self._who = Principal(task.user, Role.USER, key_id="")
        self._run_id = run_of_task(task.id)
        self._has_run = False
        self._shown_faults = ""

    async def run(self) -> None:
        """Return after the last read, or when nothing more can be logged."""
        try:
            # An attempt that ends before the first look is only read once.
            await self._pause(LOOK_SECONDS)
            while not self.ended.is_set():
                await self._pause(await self._look(is_last=False))
            with suppress(OSError):
                if await self._host.look(self._files.is_empty):
                    return
            while await self._look(is_last=True) < LOOK_SECONDS:
                pass
        except RequestError as error:
            log.warning("a task's metrics are not read: %s", error, extra=self._extra)
        except Exception:
            log.exception("a task's metrics are not read", extra=self._extra)

    async def _look(self, *, is_last: bool) -> float:
        """Log what is new, and return how long to wait before the next look."""
        try:
            async with self._looks:
                began = time.monotonic()
                look = await self._host.reads(partial(self._files.look, is_last=is_last))
                took = time.monotonic() - began
        except Unavailable:  # The shared disk, which is tried again.
            await asyncio.sleep(LOOK_SECONDS)
            return 0.0
        await self._log(look.points)
        await self._show_faults()
        return min(took * SHARE, LOOK_SECONDS / 2) if look.is_behind else LOOK_SECONDS

    async def _log(self, points: Sequence[Point]) -> None:
        """Raises RequestError if the run takes no more."""
        for first in range(0, len(points), MAX_POINTS_OF_CALL):
            while True:
                try:
                    await self._make_run()
                    part = points[first : first + MAX_POINTS_OF_CALL]
                    await self._tracking.log(self._who, self._run_id, part)
                    break
                except (DiskFull, Unavailable):
                    await asyncio.sleep(LOOK_SECONDS)

    async def _make_run(self) -> None:
        """Make the task's own run, unless an earlier attempt did."""
        if self._has_run:
            return
        task, spec = self._task, self._task.spec
        await self._tracking.create_run(
            self._who,
            spec.experiment_id or DEFAULT_EXPERIMENT,
            name=spec.job_name[:MAX_RUN_NAME],
            started_at=self._files.began_at or self._clock(),
            task_id=task.id,
            run_id=self._run_id,
        )
        self._has_run = True
        if spec.sweep is not None:
            await self._tracking.log(self._who, self._run_id, params=spec.sweep.parameters)

    async def _show_faults(self) -> None:
        shown = "\n".join(f"{path}: {why}" for path, why in self._files.faults.items())[
            :MAX_TAG_VALUE
        ]
        if shown != self._shown_faults:
            self._shown_faults = shown
            log.info("files with metrics are not read to their ends: %s", shown, extra=self._extra)
            await self._make_run()
            await self._tracking.log(self._who, self._run_id, tags={UNREAD_TAG: shown})

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()

    @property
    def _extra(self) -> dict[str, str]:
        return {"task_id": self._task.id}
