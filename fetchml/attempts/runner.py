"""Runs one attempt of a task to its end, from whatever point it has reached.

The same code serves a new attempt and one that an earlier server began: at each step the attempt's
folder shows whether the step was taken already. The runner reports events and decides nothing about
the task.

1. `_prepare`: inputs, then the launcher; the shim waits at its gate.
2. `_wait_at_gate`: only for a prestaged attempt, until the task has its resources.
3. `_start`: the gate is opened.
4. `_watch_to_exit`: the start and the exit are reported.
5. `_collect`: the outputs are moved to where they are kept.
6. `_remove`: what the launcher created is deleted.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from fetchml.attempts.attempt_end import AttemptTimes, end_of
from fetchml.attempts.hosts import NodeGpus, TaskHost
from fetchml.attempts.ran_with import HostFacts
from fetchml.attempts.staging import Inputs
from fetchml.attempts.stopping import AGAIN_SECONDS, StopRequest
from fetchml.core.events import (
    Collected,
    Ended,
    Event,
    Manner,
    NeverStarted,
    Prestaged,
    Progressed,
    Started,
)
from fetchml.core.model import AttemptEnd, RanWith, Status, Task
from fetchml.core.requests import text
from fetchml.files import secrets_file
from fetchml.files.attempt_folder import AttemptFolder, CollectError
from fetchml.files.folder_events import FolderEvents
from fetchml.files.kept_outputs import OmittedOutputs, OutputLimits
from fetchml.ports.launcher import AttemptExit, Launcher, LaunchSpec, Owner, PrepareError
from fetchml.system import failpoints
from fetchml.system.background import first_of
from fetchml.system.threads import WorkerThreads

PRESTAGE_DELAY_SECONDS = 0.05
"""Before an attempt is prestaged. Often another attempt starts at that moment, which should have
the host for itself until its command runs."""
MAX_PREPARED_AGAIN = 5
"""Repeated preparations of an attempt whose command has not run, because its container vanished
(the Docker engine was restarted) or the disk was full."""

log = logging.getLogger(__name__)

FollowOutputs = Callable[[Task, AttemptFolder], AbstractAsyncContextManager[None]]
"""Reads an attempt's outputs while inside, and what is left of them on the way out. Raises
nothing."""


class AttemptRunner:
    def __init__(
        self,
        task: Task,
        launch: LaunchSpec,
        outputs: Path,
        *,
        inputs: Inputs,
        launcher: Launcher,
        watch: FolderEvents,
        clock: Callable[[], int],
        report: Callable[[Event], asyncio.Future[None]],
        gpu_failure: Callable[[Task, AttemptEnd], Awaitable[Event | None]],
        follow: FollowOutputs,
        threads: WorkerThreads,
        output_limits: OutputLimits,
        host: TaskHost,
        facts: HostFacts,
        checkpoint: Path | None = None,
    ) -> None:
        """The future of `report` resolves when the event's changes are durable. `gpu_failure`
        returns an event if the GPUs caused a failed exit. `checkpoint`: the task's folder, if it
        has one."""
        self._task = task
        self._launch = launch
        self._outputs = outputs
        self._inputs = inputs
        self._launcher = launcher
        self._watch = watch
        self._clock = clock
        self._report = report
        self._progress = Steps(task, clock, report)
        self._gpu_failure = gpu_failure
        self._follow = follow
        self._threads = threads
        self._output_limits = output_limits
        self._checkpoint = checkpoint
        self._host = host
        self._facts = facts
        self._look, self._in_thread = host.look, host.in_thread
        self._folder = AttemptFolder(launch.folder)
        self._times = AttemptTimes(self._folder, task, clock)
        self._end = task.end
        self._exit: asyncio.Task[AttemptExit] | None = None
        """Waits until no process of the attempt is left; `None` before and after."""
        self._may_open = asyncio.Event()
        """Set when the task has its resources. Until then the attempt is only prestaged."""
        if not task.prestaged:
            self._may_open.set()
        self._discard_requested = asyncio.Event()
        self._stop = StopRequest()
        self._ran_with: RanWith | None = None
        """`None` until this server has prepared the attempt."""
        self._owner: Owner = None
        """The owner that the attempt's folders were handed over to; `None` if there is none yet."""
        self._node_gpus: NodeGpus = None, ()
        self._never_started = False
        """Abandoned before its command ran: of its files only the records stay."""
        self._is_over = False
        """The exit is reported: nothing may be started any more, only cleaned up."""

    @property
    def launch(self) -> LaunchSpec:
        """The command and the resources that the launcher was asked to run."""
        return self._launch

    def stop(self, manner: Manner) -> None:
        """End the attempt, or never start it. May be called again with a harder manner."""
        self._stop.make(manner)

    def open_gate(self) -> None:
        """Let a prestaged attempt start, as soon as it is prepared."""
        self._may_open.set()

    def discard(self) -> None:
        """Never start a prestaged attempt."""
        self._discard_requested.set()

    async def run(self) -> None:
        """Run to the end. May be called again after an exception (disk, engine)."""
        if not self._is_over:
            try:
                await self._run_to_exit()
            finally:
                await self._forget_exit()
            self._is_over = True
        await self._remove()
        failpoints.reach("removed")

    async def _run_to_exit(self) -> None:
        runs = self._task.status is not Status.COLLECTING
        if runs:
            failpoints.reach("preparing")
            if not await self._start():
                return
        async with self._follow(self._task, self._folder):
            if runs and not await self._exit_or_prepare_again():
                return
        failpoints.reach("ended")
        await self._collect()
        failpoints.reach("finished")

    async def _start(self) -> bool:
        """Open the gate; return false if the attempt has not started and never will.

        Once the gate was opened the attempt is never prepared again: its command may have run, and
        runs once.
        """
        found = await self._look(self._folder.progress)
        if not found.is_open:
            self._owner = found.owner
            if found.is_revoked:
                # A prestaged attempt may have been discarded: the reason was not recorded.
                error = None if self._task.prestaged else "it could not be prepared"
                return await self._give_up(error, permanent=False)
            if self._is_prestaged:
                await self._let_others_start()
            if not await self._prepare():
                return False
            failpoints.reach("prepared")
            if self._is_prestaged and not await self._wait_at_gate():
                return False
        # On one host in this thread: it is two system calls, and a GPU is idle meanwhile.
        await self._look(self._folder.open_gate)
        self._times.gate_opened()
        failpoints.reach("gate_opened")
        return True

    @property
    def _is_prestaged(self) -> bool:
        """Whether the attempt waits at its gate until this server opens it."""
        return self._task.prestaged and self._host.opens_gates

    async def _let_others_start(self) -> None:
        pause = asyncio.create_task(asyncio.sleep(PRESTAGE_DELAY_SECONDS))
        try:
            await first_of(pause, self._may_open, self._discard_requested, self._stop.made)
        finally:
            pause.cancel()

    async def _wait_at_gate(self) -> bool:
        """Wait until the gate may open; return false if the attempt never starts."""
        task = self._task
        for _ in range(MAX_PREPARED_AGAIN + 1):
            self._report(Prestaged(self._clock(), task.id, task.attempt))
            failpoints.reach("ready")
            self._exit = asyncio.create_task(self._launcher.wait(self._launch))
            requested = [self._may_open, self._discard_requested, self._stop.made]
            await first_of(self._exit, *requested)
            if self._discard_requested.is_set() or self._stop.made.is_set():
                failpoints.reach("abandoned")
                return await self._give_up(None, permanent=self._stop.made.is_set())
            if self._may_open.is_set() and not self._exit.done():
                failpoints.reach("its_turn")
                return True
            lost = self._exit.result().lost or "the prestaged attempt is gone"
            await self._launcher.remove(self._launch)
            await asyncio.sleep(AGAIN_SECONDS)
            if not await self._prepare():
                return False
        return not await self._lose(lost)

    async def _lose(self, why: str) -> bool:
        """Report a prestaged attempt as lost; return false if it has started."""
        if not await self._in_thread(self._folder.revoke):
            return False
        now = self._clock()
        end = AttemptEnd(at=now, lost=why)
        await self._report(Ended(now, self._task.id, self._task.attempt, end))
        self._is_over = self._never_started = True
        return True

    async def _prepare(self) -> bool:
        """Prepare the attempt up to its gate; return false if it was abandoned."""
        preparing = asyncio.create_task(self._host.prepare(self._stage_and_launch, self._progress))
        try:
            await first_of(preparing, self._stop.made, self._discard_requested)
            cancelled = not preparing.done()
        finally:
            # Also when the server stops: nothing may be created after this returns.
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
        if cancelled:
            return await self._give_up(None, permanent=self._stop.made.is_set())
        try:
            preparing.result()
        except PrepareError as error:
            reason = text.shown(str(error), text.MAX_MESSAGE)
            return await self._give_up(reason, permanent=error.permanent)
        except Exception:
            log.exception("an attempt can't be prepared", extra={"task_id": self._task.id})
            return await self._give_up("the server failed to make it ready", permanent=False)
        return True

    async def _stage_and_launch(self) -> None:
        inputs = await self._inputs.provide(self._task, self._folder, self._progress, self._owner)
        self._owner = inputs.owner
        launch = inputs.into(self._launch)
        self._launch = launch.without_values
        image = await self._launcher.prepare(launch, self._progress)
        # A server that is killed before it reports the start leaves it to the next one.
        self._ran_with = self._facts.describe(self._launch, inputs, image)
        await self._look(partial(self._folder.record_ran_with, self._ran_with))

    async def _give_up(self, error: str | None, *, permanent: bool) -> bool:
        """Revoke the attempt; return true if its command had started already."""
        if not await self._in_thread(self._folder.revoke):
            return True
        if self._is_prestaged:
            failpoints.reach("revoked")
        await self._in_thread(self._folder.discard)
        await self._remove_secrets()
        task = self._task
        now = self._clock()
        await self._report(NeverStarted(now, task.id, task.attempt, error, permanent))
        if self._is_prestaged:
            failpoints.reach("given_back")
        self._is_over = True
        self._never_started = True
        await self._launcher.wait(self._launch)
        return False

    async def _remove(self) -> None:
        """Delete everything that was created for the attempt, except its records and outputs."""
        await self._launcher.remove(self._launch)
        if self._never_started:
            # Again: a request to the backend that was under way may have created them once more.
            await self._in_thread(self._folder.discard)
            await self._remove_secrets()
        await self._inputs.release(self._task)

    async def _exit_or_prepare_again(self) -> bool:
        """Watch the attempt to its exit, and prepare it again if the disk was too full to start it.
        Return false if it never starts."""
        for _ in range(MAX_PREPARED_AGAIN):
            if await self._watch_to_exit(may_start_again=True):
                return True
            self._progress("the disk is full: the task starts when there is room")
            await self._launcher.remove(self._launch)
            await self._wait_for_room()
            if not await self._prepare():
                return False
        return await self._watch_to_exit(may_start_again=False)

    async def _wait_for_room(self) -> None:
        """Return when the disk has space, or when a stop is requested."""
        while not await self._in_thread(self._folder.has_room):
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS):
                    await self._stop.made.wait()
                return

    async def _watch_to_exit(self, *, may_start_again: bool) -> bool:
        """Report the start and the exit. Return false if the attempt may start again, because the
        command could not start on a full disk."""
        stopping = asyncio.create_task(
            self._stop.carry_out(
                self._launcher,
                lambda: self._launch,
                warn_seconds=self._task.spec.warn_seconds,
                has_started=self._has_started,
            )
        )
        gone = self._exit = self._exit or asyncio.create_task(self._launcher.wait(self._launch))
        try:
            await self._report_start(gone)
            exit_seen = await gone
            no_room = may_start_again and exit_seen.no_room
            if no_room and await self._look(self._folder.claim) is None:
                await self._forget_exit()
                return False
            recorded = await self._look(self._folder.end)
            if recorded is None and not await self._in_thread(self._folder.revoke):
                # The launcher may not have seen the shim, which has claimed the attempt since then.
                gone = self._exit = asyncio.create_task(self._launcher.wait(self._launch))
                await self._report_start(gone)
                again = await gone
                recorded = await self._look(self._folder.end)
                exit_seen = exit_seen if recorded is None else again
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
        started = None if recorded is not None else await self._look(self._folder.started)
        now = self._clock()
        end = end_of(recorded, started, exit_seen, now)
        end = self._times.ended(end)
        self._end = end
        node, gpus = await self._node()
        await self._report(Ended(now, self._task.id, self._task.attempt, end, node, gpus))
        return True

    async def _report_start(self, gone: asyncio.Task[AttemptExit]) -> None:
        async with self._watch.subscribe(self._folder.run) as changes:
            while (started := await self._look(self._folder.started)) is None and not gone.done():
                changed = asyncio.ensure_future(changes.wait())
                await asyncio.wait({changed, gone}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        if started is not None:
            task = self._task
            started_at = self._times.started(started.at)
            node, gpus = await self._node()
            ran_with = self._ran_with or await self._look(self._folder.ran_with)
            if ran_with is not None and node is not None:
                ran_with = replace(ran_with, host=node)
            now = self._clock()
            await self._report(
                Started(now, task.id, task.attempt, started_at, node, gpus, ran_with)
            )
            failpoints.reach("started")

    async def _node(self) -> NodeGpus:
        if self._node_gpus[0] is None:
            self._node_gpus = await self._host.node(self._folder)
        return self._node_gpus

    async def _forget_exit(self) -> None:
        gone, self._exit = self._exit, None
        if gone is not None:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _collect(self) -> None:
        error, left_out = None, OmittedOutputs()
        await self._remove_secrets()
        try:
            # A cancellation waits for the end: no other server may collect at the same time.
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
        kept = await self._threads.run(lambda _: self._folder.kept(self._outputs, self._checkpoint))
        kept = replace(kept, left_out_files=left_out.files, left_out_bytes=left_out.bytes)
        now, task = self._clock(), self._task
        await self._report(Collected(now, task.id, task.attempt, error, kept))

    async def _remove_secrets(self) -> None:
        """Remove what the shim left. It leaves something only if it was killed or never ran."""
        if self._task.spec.secrets:
            await self._in_thread(partial(secrets_file.remove, self._folder.path))

    async def _has_started(self) -> bool:
        return await self._look(self._folder.started) is not None


class Steps:
    """Reports each step of one attempt's preparation once: every report is a durable change."""

    def __init__(
        self, task: Task, clock: Callable[[], int], report: Callable[[Event], object]
    ) -> None:
        self._task = task
        self._clock = clock
        self._report = report
        self._last = task.progress

    def __call__(self, sentence: str) -> None:
        shown = text.shown(sentence, text.MAX_MESSAGE)
        if shown != self._last:
            self._last = shown
            self._report(Progressed(self._clock(), self._task.id, self._task.attempt, shown))
