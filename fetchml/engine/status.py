"""The state of the server, and counts for metrics."""

from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from fetchml.attempts.checkpoints import CheckpointCounts, Checkpoints
from fetchml.attempts.hosts import TaskHost
from fetchml.attempts.manager import AttemptManager, PrestageCounts
from fetchml.core import permissions, submit_quotas
from fetchml.core.model import Principal
from fetchml.core.scheduling.estimate import Calibration
from fetchml.core.scheduling.waiting import Blocked, OnHold, Postponed
from fetchml.core.state import State
from fetchml.engine.daily_counts import DailyCounts
from fetchml.engine.engine_lifecycle import EngineLifecycle
from fetchml.engine.estimates import Estimates
from fetchml.engine.submissions import Submissions
from fetchml.engine.task_index import TaskIndex
from fetchml.engine.watches.reports import Reports
from fetchml.files.volume_usage import VolumeReport, VolumeUsage
from fetchml.ports.store import Store
from fetchml.views import GpuUse, Health, HealthStatus, QueueStats, QueueUse


class RunCounts(NamedTuple):
    """Of all users together, but for `volumes`. Totals are since the server's start."""

    on_hold: int = 0
    blocked: int = 0
    """Tasks that wait for other tasks or for sweeps."""
    postponed: int = 0
    """Tasks whose `start_after` has not come."""
    dependency_failures: int = 0
    interrupts: int = 0
    checkpoints: CheckpointCounts = CheckpointCounts()
    volumes: tuple[VolumeReport, ...] = ()
    """Those that the caller's tasks may mount."""
    volume_refusals: int = 0


def run_counts(
    who: Principal, state: State, checkpoints: CheckpointCounts, volumes: VolumeUsage
) -> RunCounts:
    held_back = state.held_back.by_kind
    return RunCounts(
        held_back.get(OnHold, 0),
        held_back.get(Blocked, 0),
        held_back.get(Postponed, 0),
        state.blocked.failures,
        state.interrupts,
        checkpoints,
        tuple(volumes.seen_by(who)),
        volumes.refused,
    )


class ServerStatus:
    """Used from one event loop."""

    def __init__(
        self,
        store: Store,
        state: State,
        index: TaskIndex,
        counts: DailyCounts,
        estimates: Estimates,
        submissions: Submissions,
        attempts: AttemptManager,
        lifecycle: EngineLifecycle,
        *,
        host: TaskHost,
        checkpoints: Checkpoints,
        volumes: VolumeUsage,
        clock: Callable[[], int],
        private: bool,
    ) -> None:
        self._store = store
        self._state = state
        self._index = index
        self._counts = counts
        self._estimates = estimates
        self._submissions = submissions
        self._attempts = attempts
        self._host = host
        self._lifecycle = lifecycle
        self._checkpoints = checkpoints
        self._volumes = volumes
        self._clock = clock
        self._private = private
        self._queue_reports = Reports[QueueStats](self.queue_stats, private=False)

    def health(self) -> Health:
        if not self._store.has_room():
            return Health(HealthStatus.UNHEALTHY, ("the disk is nearly full",), accepts_work=False)
        if self._state.draining:
            return Health(HealthStatus.DEGRADED, ("shutting down",), accepts_work=False)
        if not self._state.launcher_available:
            return Health(HealthStatus.DEGRADED, (self._lifecycle.launcher_message,))
        return Health(HealthStatus.HEALTHY)

    @property
    def draining(self) -> bool:
        """Nothing new is taken: the server is about to end."""
        return self._state.draining

    async def queue_stats(self, who: Principal) -> QueueStats:
        completed, failed = self._counts.today(self._clock())
        return QueueStats(
            queued=self._index.waiting,
            running=self._index.holding,
            completed=completed,
            failed=failed,
            workers=self._workers,
        )

    def watch_queue(self, who: Principal) -> AsyncGenerator[QueueStats]:
        """Yield the numbers of the queue, now and when they have changed. Never ends by itself."""
        return self._queue_reports.watch(who)

    @property
    def _workers(self) -> int:
        """Hosts that tasks can start on."""
        return self._host.workers if self._state.may_start else 0

    @property
    def queue_use(self) -> QueueUse:
        """Memory that live tasks take."""
        return QueueUse(
            self._state.live_bytes, submit_quotas.MAX_LIVE_BYTES, self._submissions.refused
        )

    def gpu_use(self, who: Principal) -> list[GpuUse]:
        """Of tasks that hold GPUs now."""
        now = self._clock()
        held = [
            (self._state.tasks[task_id], held.gpu) for task_id, held in self._state.held.items()
        ]
        return [
            GpuUse(
                task.id,
                task.user,
                count * (now - task.allocated_at) / 1000,
                0.0 if task.idle_since is None else (now - task.idle_since) / 1000,
            )
            for task, count in held
            if count
            and task.allocated_at is not None
            and permissions.may_see(who, task, private=self._private)
        ]

    @property
    def ahead_counts(self) -> PrestageCounts:
        """Prestaged attempts since the server's start."""
        return self._attempts.counts

    def run_counts(self, who: Principal) -> RunCounts:
        return run_counts(who, self._state, self._checkpoints.counts, self._volumes)

    @property
    def calibration(self) -> Calibration:
        """Return the accuracy of estimates since the server's start."""
        return self._estimates.calibration
