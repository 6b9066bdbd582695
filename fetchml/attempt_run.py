"""One attempt of a task, from wherever it is to its end: one straight line.

The same line serves a new attempt and one that an earlier server began: at each step the
attempt's folder tells whether it was taken already. What it finds it reports as events; it
decides nothing about the task.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec.structs import replace

from fetchml import failpoints
from fetchml.attempt import AttemptFolder, CollectError
from fetchml.core.events import Collected, Ended, Event, NeverStarted, Progressed, Started
from fetchml.core.model import AttemptEnd, Status, Task
from fetchml.folder_watch import FolderWatch
from fetchml.inputs import Inputs
from fetchml.ports import Gone, Launcher, PrepareError, Run

STOP_MARGIN_SECONDS = 5.0
"""The shim kills after the grace; only when it could not does the launcher."""
AGAIN_SECONDS = 1.0
"""When ending an attempt failed, it is tried again after this."""

log = logging.getLogger(__name__)


class AttemptRun:
    def __init__(
        self,
        task: Task,
        run: Run,
        outputs: Path,
        *,
        inputs: Inputs,
        launcher: Launcher,
        watch: FolderWatch,
        clock: Callable[[], int],
        report: Callable[[Event], asyncio.Future[None]],
    ) -> None:
        """The future of `report` is done when the event's changes are durable."""
        self._task = task
        self._run = run
        self._outputs = outputs
        self._inputs = inputs
        self._launcher = launcher
        self._watch = watch
        self._clock = clock
        self._report = report
        self._folder = AttemptFolder(run.folder)
        self._stop_asked = asyncio.Event()
        self._is_over = False
        """Its end is reported: nothing may be started any more, only cleaned up."""

    def stop(self) -> None:
        """End it: never start it if it has not started, else SIGTERM, grace, SIGKILL."""
        self._stop_asked.set()

    async def go(self) -> None:
        """To the end. When it raised (the disk, the engine), it can be called again."""
        if not self._is_over:
            await self._see_to_the_end()
            self._is_over = True
        await self._remove()
        failpoints.reach("removed")

    async def _see_to_the_end(self) -> None:
        if self._task.status is not Status.COLLECTING:
            failpoints.reach("preparing")
            if not await self._start():
                return
            await self._see_through()
        failpoints.reach("ended")
        await self._collect()
        failpoints.reach("finished")

    async def _start(self) -> bool:
        """Once the gate was opened, the attempt is never made ready again: its command may have
        run, and runs once. False: it has not started and never will."""
        if not await asyncio.to_thread(self._folder.gate_was_opened):
            claim = self._folder.claim()
            if claim is not None and claim.revoked:
                return await self._give_up("it could not be made ready", permanent=False)
            if not await self._prepare():
                return False
            failpoints.reach("prepared")
        await asyncio.to_thread(self._folder.open_gate)
        failpoints.reach("gate_opened")
        return True

    async def _prepare(self) -> bool:
        """Ready, and waiting at the gate. False: given up."""
        preparing = asyncio.create_task(self._make_ready())
        try:
            stopped = not await self._unless_stopped(preparing)
        finally:
            # Also when the server lets go of this attempt: nothing may be made behind its back.
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
        if stopped:
            return await self._give_up(None, permanent=True)
        try:
            preparing.result()
        except PrepareError as error:
            return await self._give_up(str(error), permanent=error.permanent)
        except Exception:
            log.exception("an attempt can't be made ready", extra={"task_id": self._task.id})
            return await self._give_up("the server failed to make it ready", permanent=False)
        return True

    async def _make_ready(self) -> None:
        mounts = await self._inputs.provide(self._task, self._folder, self._progress)
        self._run = replace(self._run, datasets=mounts)
        await self._launcher.prepare(self._run, self._progress)

    async def _give_up(self, error: str | None, *, permanent: bool) -> bool:
        """Returns False when nothing was started, True when it had been started already."""
        if not await asyncio.to_thread(self._folder.revoke):
            return True
        await asyncio.to_thread(self._folder.drop_workspace)
        task = self._task
        now = self._clock()
        await self._report(NeverStarted(now, task.id, task.attempt, error, permanent))
        self._is_over = True
        await self._launcher.wait(self._run)
        return False

    async def _remove(self) -> None:
        """All that was made for the attempt, but for its record and outputs."""
        await self._launcher.remove(self._run)
        await self._inputs.release(self._task)

    async def _see_through(self) -> None:
        """Wait for the start and the end."""
        stopping = asyncio.create_task(self._stop_when_asked())
        gone = asyncio.create_task(self._launcher.wait(self._run))
        try:
            await self._report_start(gone)
            end_hint = await gone
        finally:
            stopping.cancel()
            gone.cancel()
            await asyncio.gather(stopping, gone, return_exceptions=True)
        end = self._folder.end()
        now = self._clock()
        if end is None:
            started = self._folder.started()
            lost = end_hint.lost or "it vanished without a word of its end"
            started_at = started.at if started is not None else None
            end = AttemptEnd(at=now, started_at=started_at, lost=lost)
        elif end_hint.out_of_memory:
            end = replace(end, out_of_memory=True)
        await self._report(Ended(now, self._task.id, self._task.attempt, end))

    async def _report_start(self, gone: asyncio.Task[Gone]) -> None:
        async with self._watch.subscribe(self._folder.run) as changes:
            while (started := self._folder.started()) is None and not gone.done():
                changed = asyncio.ensure_future(changes.wait())
                await asyncio.wait({changed, gone}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        if started is not None:
            task = self._task
            await self._report(Started(self._clock(), task.id, task.attempt, started.at))
            failpoints.reach("started")

    async def _collect(self) -> None:
        error = None
        collecting = asyncio.ensure_future(asyncio.to_thread(self._folder.collect, self._outputs))
        try:
            await asyncio.shield(collecting)
        except CollectError as problem:
            error = str(problem)
        except asyncio.CancelledError:
            # The thread can't be stopped, and no other server may collect beside it.
            await asyncio.gather(collecting, return_exceptions=True)
            raise
        failpoints.reach("collected")
        await self._report(Collected(self._clock(), self._task.id, self._task.attempt, error))

    async def _stop_when_asked(self) -> None:
        await self._stop_asked.wait()
        await self._insist(self._launcher.stop)
        await asyncio.sleep(self._run.grace_ms / 1000 + STOP_MARGIN_SECONDS)
        log.warning("the shim did not end the attempt in time", extra={"task_id": self._task.id})
        await self._insist(self._launcher.kill)

    async def _insist(self, end: Callable[[Run], Awaitable[None]]) -> None:
        """The wish to end was answered: it may not be lost because the backend erred."""
        while True:
            try:
                return await end(self._run)
            except Exception:
                log.exception("an attempt can't be ended", extra={"task_id": self._task.id})
                await asyncio.sleep(AGAIN_SECONDS)

    async def _unless_stopped(self, work: asyncio.Task[None]) -> bool:
        """Wait for `work`; False: a stop was asked for before it was done."""
        stop = asyncio.ensure_future(self._stop_asked.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        return work.done()

    def _progress(self, text: str) -> None:
        self._report(Progressed(self._clock(), self._task.id, self._task.attempt, text))
