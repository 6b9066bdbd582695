"""One attempt of a task, from wherever it is to its end: one straight line.

The same line serves a new attempt and one that an earlier server began: at each step the
attempt's folder tells whether it was taken already. What it finds it reports as events; it
decides nothing about the task.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fetchml.attempts.staging import Inputs
from fetchml.attempts.times import AttemptTimes
from fetchml.core.events import (
    Collected,
    Ended,
    Event,
    GpuFailed,
    NeverStarted,
    Prestaged,
    Progressed,
    Started,
)
from fetchml.core.model import AttemptEnd, Status, Task
from fetchml.core.requests import text
from fetchml.files.attempt_folder import AttemptFolder, CollectError
from fetchml.files.folder_events import FolderWatch
from fetchml.files.kept_outputs import LeftOut, OutputLimits
from fetchml.ports.launcher import AttemptExit, Launcher, LaunchSpec, PrepareError
from fetchml.system import failpoints
from fetchml.system.threads import WorkerThreads

STOP_MARGIN_SECONDS = 5.0
"""The shim kills after the grace; only when it could not does the launcher."""
AGAIN_SECONDS = 1.0
"""When ending an attempt failed, it is tried again after this."""
AHEAD_PAUSE_SECONDS = 0.05
"""Before something is made ready ahead, which often is asked for when the one before it starts:
that is to have the machine for itself until its command runs."""
MOST_REMADE = 5
"""How often an attempt that waits at its gate is made ready again, when what stood there is gone
(the Docker engine was restarted). Its command has not run."""

log = logging.getLogger(__name__)


class AttemptRunner:
    def __init__(
        self,
        task: Task,
        run: LaunchSpec,
        outputs: Path,
        *,
        inputs: Inputs,
        launcher: Launcher,
        watch: FolderWatch,
        clock: Callable[[], int],
        report: Callable[[Event], asyncio.Future[None]],
        gpu_failure: Callable[[Task, AttemptEnd], Awaitable[GpuFailed | None]],
        threads: WorkerThreads,
        output_limits: OutputLimits,
    ) -> None:
        """The future of `report` is done when the event's changes are durable. `gpu_failure`:
        whether a bad end was the GPUs' doing."""
        self._task = task
        self._run = run
        self._outputs = outputs
        self._inputs = inputs
        self._launcher = launcher
        self._watch = watch
        self._clock = clock
        self._report = report
        self._gpu_failure = gpu_failure
        self._threads = threads
        self._output_limits = output_limits
        self._folder = AttemptFolder(run.folder)
        self._times = AttemptTimes(self._folder, task, clock)
        self._end = task.end
        self._gone: asyncio.Task[AttemptExit] | None = None
        """The wait for the end of all its processes, once it has begun."""
        self._may_open = asyncio.Event()
        """The task has its resources. Until then it is made ready ahead, up to its gate."""
        if not task.prestaged:
            self._may_open.set()
        self._thrown_away = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._never_started = False
        """It was given up before its command ran: of its files only the record stays."""
        self._is_over = False
        """Its end is reported: nothing may be started any more, only cleaned up."""

    def stop(self) -> None:
        """End it: never start it if it has not started, else SIGTERM, grace, SIGKILL."""
        self._stop_asked.set()

    def open_gate(self) -> None:
        """It was made ready ahead, or is being: let it start as soon as it is."""
        self._may_open.set()

    def abandon(self) -> None:
        """It was made ready ahead, or is being: it is not wanted here. Never start it."""
        self._thrown_away.set()

    async def go(self) -> None:
        """To the end. When it raised (the disk, the engine), it can be called again."""
        if not self._is_over:
            try:
                await self._see_to_the_end()
            finally:
                await self._forget_gone()
            self._is_over = True
        await self._remove()
        failpoints.reach("removed")

    async def _see_to_the_end(self) -> None:
        if self._task.status is not Status.COLLECTING:
            failpoints.reach("preparing")
            if not await self._start() or not await self._run_to_the_end():
                return
        failpoints.reach("ended")
        await self._collect()
        failpoints.reach("finished")

    async def _start(self) -> bool:
        """Once the gate was opened, the attempt is never made ready again: its command may have
        run, and runs once. False: it has not started and never will."""
        if not self._folder.gate_was_opened():
            claim = self._folder.claim()
            if claim is not None and claim.revoked:
                # What was made ready ahead may have been thrown away: nobody kept why.
                error = None if self._task.prestaged else "it could not be made ready"
                return await self._give_up(error, permanent=False)
            if self._task.prestaged:
                await self._let_others_start()
            if not await self._prepare():
                return False
            failpoints.reach("prepared")
            if self._task.prestaged and not await self._wait_for_its_turn():
                return False
        # Here, not in a thread: it is two system calls, and a GPU is idle meanwhile.
        self._folder.open_gate()
        self._times.gate_opened()
        failpoints.reach("gate_opened")
        return True

    async def _let_others_start(self) -> None:
        pause = asyncio.create_task(asyncio.sleep(AHEAD_PAUSE_SECONDS))
        try:
            await _first_of(pause, self._may_open, self._thrown_away, self._stop_asked)
        finally:
            pause.cancel()

    async def _wait_for_its_turn(self) -> bool:
        """At the gate, until it may open. False: it has not started and never will."""
        task = self._task
        for _ in range(MOST_REMADE + 1):
            self._report(Prestaged(self._clock(), task.id, task.attempt))
            failpoints.reach("ready")
            self._gone = asyncio.create_task(self._launcher.wait(self._run))
            asked = [self._may_open, self._thrown_away, self._stop_asked]
            await _first_of(self._gone, *asked)
            if self._thrown_away.is_set() or self._stop_asked.is_set():
                failpoints.reach("abandoned")
                return await self._give_up(None, permanent=self._stop_asked.is_set())
            if self._may_open.is_set():
                failpoints.reach("its_turn")
                return True
            lost = self._gone.result().lost or "what was made ready ahead is gone"
            await self._launcher.remove(self._run)
            await asyncio.sleep(AGAIN_SECONDS)
            if not await self._prepare():
                return False
        return not await self._lose(lost)

    async def _lose(self, why: str) -> bool:
        """Of what waits at its gate. False: it has started."""
        if not await asyncio.to_thread(self._folder.revoke):
            return False
        now = self._clock()
        end = AttemptEnd(at=now, lost=why)
        await self._report(Ended(now, self._task.id, self._task.attempt, end))
        self._is_over = self._never_started = True
        return True

    async def _prepare(self) -> bool:
        """Ready, and waiting at the gate. False: given up."""
        preparing = asyncio.create_task(self._make_ready())
        try:
            unwanted = not await self._unless_unwanted(preparing)
        finally:
            # Also when the server lets go of this attempt: nothing may be made behind its back.
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
        if unwanted:
            return await self._give_up(None, permanent=self._stop_asked.is_set())
        try:
            preparing.result()
        except PrepareError as error:
            said = text.shown(str(error), text.MAX_MESSAGE)
            return await self._give_up(said, permanent=error.permanent)
        except Exception:
            log.exception("an attempt can't be made ready", extra={"task_id": self._task.id})
            return await self._give_up("the server failed to make it ready", permanent=False)
        return True

    async def _make_ready(self) -> None:
        inputs = await self._inputs.provide(self._task, self._folder, self._progress)
        env = {**self._run.env, **self._inputs.secrets(self._task)}
        self._run = replace(self._run, datasets=inputs.mounts, owner=inputs.owner, env=env)
        await self._launcher.prepare(self._run, self._progress)

    async def _give_up(self, error: str | None, *, permanent: bool) -> bool:
        """Returns False when nothing was started, True when it had been started already."""
        if not await asyncio.to_thread(self._folder.revoke):
            return True
        if self._task.prestaged:
            failpoints.reach("revoked")
        await asyncio.to_thread(self._folder.discard)
        task = self._task
        now = self._clock()
        await self._report(NeverStarted(now, task.id, task.attempt, error, permanent))
        self._is_over = True
        self._never_started = True
        await self._launcher.wait(self._run)
        return False

    async def _remove(self) -> None:
        """All that was made for the attempt, but for its record and outputs."""
        await self._launcher.remove(self._run)
        if self._never_started:
            # Again: a request to the backend that was under way may have made them anew.
            await asyncio.to_thread(self._folder.discard)
        await self._inputs.release(self._task)

    async def _run_to_the_end(self) -> bool:
        """See it through; made ready again where the disk was too full to start it. False: it has
        not started and never will."""
        for _ in range(MOST_REMADE):
            if await self._see_through(may_start_again=True):
                return True
            self._progress("the disk is full: the task starts when there is room")
            await self._launcher.remove(self._run)
            await self._wait_for_room()
            if not await self._prepare():
                return False
        return await self._see_through(may_start_again=False)

    async def _wait_for_room(self) -> None:
        """Return when the disk has room, or when the task is to be stopped."""
        while not await asyncio.to_thread(self._folder.has_room):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), AGAIN_SECONDS)
                return

    async def _see_through(self, *, may_start_again: bool) -> bool:
        """Wait for the start and the end. False, where it may start again: the disk was full, so
        the command has not started."""
        stopping = asyncio.create_task(self._stop_when_asked())
        gone = self._gone = self._gone or asyncio.create_task(self._launcher.wait(self._run))
        try:
            await self._report_start(gone)
            end_hint = await gone
            if may_start_again and end_hint.no_room and self._folder.claim() is None:
                await self._forget_gone()
                return False
            if self._folder.end() is None and not await asyncio.to_thread(self._folder.revoke):
                # Perhaps nobody saw its shim, which has claimed it since then.
                gone = self._gone = asyncio.create_task(self._launcher.wait(self._run))
                await self._report_start(gone)
                again = await gone
                end_hint = end_hint if self._folder.end() is None else again
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
        end = self._folder.end()
        now = self._clock()
        if end is None:
            started = self._folder.started()
            lost = end_hint.lost or "it vanished without a word of its end"
            started_at = started.at if started is not None else None
            end = AttemptEnd(at=now, started_at=started_at, lost=lost)
        elif end_hint.out_of_memory:
            end = replace(end, out_of_memory=True)
        end = self._times.ended(end)
        self._end = end
        await self._report(Ended(now, self._task.id, self._task.attempt, end))
        return True

    async def _report_start(self, gone: asyncio.Task[AttemptExit]) -> None:
        async with self._watch.subscribe(self._folder.run) as changes:
            while (started := self._folder.started()) is None and not gone.done():
                changed = asyncio.ensure_future(changes.wait())
                await asyncio.wait({changed, gone}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        if started is not None:
            task = self._task
            started_at = self._times.started(started.at)
            await self._report(Started(self._clock(), task.id, task.attempt, started_at))
            failpoints.reach("started")

    async def _forget_gone(self) -> None:
        gone, self._gone = self._gone, None
        if gone is not None:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _collect(self) -> None:
        error, left_out = None, LeftOut()
        try:
            # No other server may collect beside it: cancelling this waits for its end.
            left_out = await self._threads.run(
                lambda _: self._folder.collect(self._outputs, self._output_limits)
            )
        except CollectError as problem:
            error = str(problem)
        if self._end is not None:
            failure = await self._gpu_failure(self._task, self._end)
            if failure is not None:
                self._report(failure)
        failpoints.reach("collected")
        kept = await self._threads.run(lambda _: self._folder.kept(self._outputs))
        kept = replace(kept, left_out_files=left_out.files, left_out_bytes=left_out.bytes)
        now, task = self._clock(), self._task
        await self._report(Collected(now, task.id, task.attempt, error, kept))

    async def _stop_when_asked(self) -> None:
        await self._stop_asked.wait()
        await self._insist(self._launcher.stop)
        await asyncio.sleep(self._run.grace_ms / 1000 + STOP_MARGIN_SECONDS)
        log.warning("the shim did not end the attempt in time", extra={"task_id": self._task.id})
        await self._insist(self._launcher.kill)

    async def _insist(self, end: Callable[[LaunchSpec], Awaitable[None]]) -> None:
        """The wish to end was answered: it may not be lost because the backend erred."""
        while True:
            try:
                return await end(self._run)
            except Exception:
                log.exception("an attempt can't be ended", extra={"task_id": self._task.id})
                await asyncio.sleep(AGAIN_SECONDS)

    async def _unless_unwanted(self, work: asyncio.Task[None]) -> bool:
        """Wait for `work`; False: it was stopped or thrown away before it was done."""
        await _first_of(work, self._stop_asked, self._thrown_away)
        return work.done()

    def _progress(self, said: str) -> None:
        shown = text.shown(said, text.MAX_MESSAGE)
        self._report(Progressed(self._clock(), self._task.id, self._task.attempt, shown))


async def _first_of(work: asyncio.Task[Any], *asked: asyncio.Event) -> None:
    """Until the work is done or something was asked for. The work goes on."""
    waiting = [asyncio.ensure_future(event.wait()) for event in asked]
    try:
        await asyncio.wait([work, *waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
