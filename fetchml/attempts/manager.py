"""All attempts under way: carries out the core's effects."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fetchml.attempts.runner import AttemptRunner
from fetchml.attempts.staging import Inputs
from fetchml.core.events import (
    CheckGpus,
    DiscardAttempt,
    Effect,
    Event,
    GpuFailed,
    OpenGate,
    RunAttempt,
    StopAttempt,
)
from fetchml.core.model import AttemptEnd, Status, Task
from fetchml.core.requests import submission
from fetchml.core.waiting import may_be_prestaged
from fetchml.files.folder_events import FolderWatch
from fetchml.files.kept_outputs import NO_LIMITS, OutputLimits
from fetchml.files.task_files import TaskFiles
from fetchml.ports.launcher import Launcher, LaunchSpec
from fetchml.system.threads import WorkerThreads

LONGEST_PAUSE_SECONDS = 30.0
COLLECTING_THREADS = 2
"""In which outputs are collected: however many files tasks leave, other work on files goes on."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunSettings:
    grace_ms: int
    log_segment_bytes: int
    outputs: OutputLimits = NO_LIMITS


@dataclass(slots=True)
class AheadCounts:
    """Of attempts since the server's start."""

    ahead: int = 0
    """Begun to be made ready while they waited."""
    opened: int = 0
    """Of these: started."""
    thrown_away: int = 0
    """Of these: not wanted where they were."""
    ordinary: int = 0
    """Made ready only when they had their resources."""
    not_again: int = 0
    """Of these: since too many attempts of the same task had been thrown away."""


class AttemptManager:
    def __init__(
        self,
        launcher: Launcher,
        inputs: Inputs,
        files: TaskFiles,
        watch: FolderWatch,
        settings: RunSettings,
        *,
        clock: Callable[[], int],
        report: Callable[[Event], asyncio.Future[None]],
        check_gpus: Callable[[Sequence[str]], None],
        gpu_failure: Callable[[Task, AttemptEnd], Awaitable[GpuFailed | None]],
    ) -> None:
        """`check_gpus`: carries out CheckGpus. `gpu_failure`: see AttemptRunner."""
        self.counts = AheadCounts()
        self._check_gpus = check_gpus
        self._gpu_failure = gpu_failure
        self._launcher = launcher
        self._inputs = inputs
        self._files = files
        self._watch = watch
        self._settings = settings
        self._clock = clock
        self._report = report
        self._collecting = WorkerThreads("collecting", COLLECTING_THREADS)
        self._current: dict[str, AttemptRunner] = {}
        """By task id; an attempt whose last traces are being removed may be there beside."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def act(self, effect: Effect) -> None:
        """After `close` nothing is done: the next server carries it out."""
        if self._closed:
            return
        match effect:
            case RunAttempt(task=task):
                if task.prestaged:
                    self.counts.ahead += 1
                elif task.status is Status.PREPARING:
                    self.counts.ordinary += 1
                    self.counts.not_again += not may_be_prestaged(task)
                run = self._current[task.id] = self._make(task)
                driving = asyncio.create_task(self._drive(task.id, run))
                self._tasks.add(driving)
                driving.add_done_callback(self._tasks.discard)
            case StopAttempt(task_id=task_id):
                if task_id in self._current:
                    self._current[task_id].stop()
            case OpenGate(task_id=task_id):
                self.counts.opened += 1
                self._current[task_id].open_gate()
            case DiscardAttempt(task_id=task_id):
                if task_id in self._current:
                    self.counts.thrown_away += 1
                    self._current[task_id].abandon()
            case CheckGpus(uuids=uuids):
                self._check_gpus(uuids)

    async def close(self) -> None:
        """Let go of all; what runs goes on."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make(self, task: Task) -> AttemptRunner:
        spec = task.spec
        own = {
            "FETCHML_TASK_ID": task.id,
            "FETCHML_JOB_NAME": spec.job_name,
            "FETCHML_ATTEMPT": str(task.attempt),
        }
        run = LaunchSpec(
            task_id=task.id,
            attempt=task.attempt,
            job_name=spec.job_name,
            folder=self._files.attempt(task.id, task.attempt).path,
            image=spec.image,
            argv=submission.argv(spec),
            env={**(spec.env or {}), **own},
            cpu=spec.cpu or 0,
            memory_gb=spec.memory_gb or 0,
            gpu_ids=task.gpu_uuids,
            timeout_ms=spec.timeout_seconds * 1000,
            grace_ms=self._settings.grace_ms,
            log_segment_bytes=self._settings.log_segment_bytes,
        )
        return AttemptRunner(
            task,
            run,
            self._files.outputs(task.id),
            inputs=self._inputs,
            launcher=self._launcher,
            watch=self._watch,
            clock=self._clock,
            report=self._report,
            gpu_failure=self._gpu_failure,
            threads=self._collecting,
            output_limits=self._settings.outputs,
        )

    async def _drive(self, task_id: str, run: AttemptRunner) -> None:
        """A fault of the machine (disk, engine) ends no task: the line is taken up again."""
        pause = 1.0
        while True:
            try:
                await run.go()
                break
            except Exception:
                log.exception("an attempt is taken up again", extra={"task_id": task_id})
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        if self._current.get(task_id) is run:
            del self._current[task_id]
