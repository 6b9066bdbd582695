"""Carries out the core's effects on attempts, each attempt in a coroutine of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fetchml.attempts.changed_limits import LimitFiles
from fetchml.attempts.hosts import TaskHost
from fetchml.attempts.ran_with import HostFacts
from fetchml.attempts.runner import AttemptRunner, FollowOutputs
from fetchml.attempts.staging import Inputs
from fetchml.core.events import (
    DiscardAttempt,
    Event,
    LimitAttempt,
    OpenGate,
    RunAttempt,
    StopAttempt,
)
from fetchml.core.model import AttemptEnd, Status, Task
from fetchml.core.scheduling.waiting import may_be_prestaged
from fetchml.files.folder_events import FolderEvents
from fetchml.files.kept_outputs import NO_LIMITS, OutputLimits
from fetchml.files.task_files import TaskFiles
from fetchml.ports.launcher import Launcher, LaunchSpec
from fetchml.ports.task_environment import TrackingAccess, attempt_variables
from fetchml.system.background import BackgroundWork
from fetchml.system.threads import WorkerThreads

LONGEST_PAUSE_SECONDS = 30.0
COLLECTING_THREADS = 2
"""Separate from other work on files, which goes on however many outputs are collected."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AttemptSettings:
    grace_ms: int
    log_segment_bytes: int
    outputs: OutputLimits = NO_LIMITS


@dataclass(slots=True)
class PrestageCounts:
    """Attempts since the server's start."""

    prestaged: int = 0
    """Prepared while the task was waiting for resources."""
    opened: int = 0
    """Of the prestaged ones: started."""
    discarded: int = 0
    """Of the prestaged ones: discarded before their start."""
    ordinary: int = 0
    """Prepared after the task had its resources."""
    not_again: int = 0
    """Of the ordinary ones: not prestaged because the task was discarded too often."""


class AttemptManager:
    """Used from one event loop."""

    def __init__(
        self,
        launcher: Launcher,
        inputs: Inputs,
        files: TaskFiles,
        watch: FolderEvents,
        settings: AttemptSettings,
        host: TaskHost,
        facts: HostFacts,
        *,
        clock: Callable[[], int],
        report: Callable[[Event], asyncio.Future[None]],
        gpu_failure: Callable[[Task, AttemptEnd], Awaitable[Event | None]],
        follow: FollowOutputs,
        tracking: Callable[[Task], TrackingAccess | None],
    ) -> None:
        """`report`, `gpu_failure`, `follow`: see AttemptRunner. `tracking`: see
        `attempt_variables`."""
        self._follow = follow
        self._tracking = tracking
        self.counts = PrestageCounts()
        self._gpu_failure = gpu_failure
        self._launcher = launcher
        self._host = host
        self._facts = facts
        self._inputs = inputs
        self._files = files
        self._watch = watch
        self._settings = settings
        self._clock = clock
        self._report = report
        self._collecting = WorkerThreads("collecting", COLLECTING_THREADS)
        self._current: dict[str, AttemptRunner] = {}
        """By task id. An earlier attempt of the task may still be cleaning up beside it."""
        self._limits = LimitFiles(files, host.look)
        self._background = BackgroundWork()
        self._closed = False

    # Each carries out an effect. Ignored after `close`: the next server carries it out.

    def run(self, effect: RunAttempt) -> None:
        if self._closed:
            return
        task = effect.task
        if task.prestaged:
            self.counts.prestaged += 1
        elif task.status is Status.PREPARING:
            self.counts.ordinary += 1
            self.counts.not_again += task.discarded > 0 and not may_be_prestaged(task)
        runner = self._current[task.id] = self._make_runner(task)
        if task.limit_changed:
            self._limits.change(task.id, task.attempt, task.spec.timeout_seconds)
        self._background.start(self._drive(task.id, runner))

    def stop(self, effect: StopAttempt) -> None:
        if not self._closed and effect.task_id in self._current:
            self._current[effect.task_id].stop(effect.manner)

    def limit(self, effect: LimitAttempt) -> None:
        runner = self._current.get(effect.task_id)
        if not self._closed and runner is not None:
            attempt = runner.launch.attempt
            self._limits.change(effect.task_id, attempt, effect.timeout_seconds)

    def open_gate(self, effect: OpenGate) -> None:
        if not self._closed:
            self.counts.opened += 1
            self._current[effect.task_id].open_gate()

    def discard(self, effect: DiscardAttempt) -> None:
        if not self._closed and effect.task_id in self._current:
            self.counts.discarded += 1
            self._current[effect.task_id].discard()

    def launched(self, task_id: str) -> LaunchSpec | None:
        """Return what was launched for the task's current attempt; `None` if nothing was."""
        runner = self._current.get(task_id)
        return runner.launch if runner else None

    async def close(self) -> None:
        """Stop watching the attempts. Whatever runs goes on."""
        self._closed = True
        await self._limits.close()
        await self._background.cancel()

    def _make_runner(self, task: Task) -> AttemptRunner:
        spec = task.spec
        launch = LaunchSpec(
            task_id=task.id,
            attempt=task.attempt,
            job_name=spec.job_name,
            folder=self._files.attempt_path(task.id, task.attempt),
            image=spec.image,
            argv=spec.argv,
            env=attempt_variables(task, self._tracking(task)),
            cpu=spec.cpu or 0,
            memory_gb=spec.memory_gb or 0,
            gpu_ids=task.gpu_uuids,
            gpu=spec.gpu or 0,
            priority=spec.priority,
            user=task.user,
            slurm=spec.slurm or {},
            timeout_ms=spec.timeout_seconds * 1000,
            warn_ms=spec.warn_seconds * 1000,
            grace_ms=self._settings.grace_ms,
            log_segment_bytes=self._settings.log_segment_bytes,
        )
        return AttemptRunner(
            task,
            launch,
            self._files.outputs(task.id),
            inputs=self._inputs,
            launcher=self._launcher,
            watch=self._watch,
            clock=self._clock,
            report=self._report,
            gpu_failure=self._gpu_failure,
            follow=self._follow,
            threads=self._collecting,
            output_limits=self._settings.outputs,
            checkpoint=self._files.checkpoint(task.id) if spec.checkpoint else None,
            host=self._host,
            facts=self._facts,
        )

    async def _drive(self, task_id: str, runner: AttemptRunner) -> None:
        """Run the attempt to its end. A failure of the host (disk, engine) does not end a task: the
        attempt is resumed."""
        pause = 1.0
        while True:
            try:
                await runner.run()
                break
            except Exception:
                log.exception("an attempt is taken up again", extra={"task_id": task_id})
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        if self._current.get(task_id) is runner:
            del self._current[task_id]
            self._limits.forget(task_id)
