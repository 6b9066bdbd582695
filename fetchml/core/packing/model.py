"""Packing: which tasks may share a GPU, by the peaks of GPU memory that their jobs have shown.

Without packing any tasks share a GPU that has a free slot. With it a task starts beside others only
if all of their learned peaks fit together (`core.packing.room`); a task whose job is not known, and
a service, gets GPUs of its own.

An attempt teaches its peak if it was seen as a whole: it completed, and its memory was read from
its start to its end without a gap. Any other attempt may have needed more than was seen, so that it
can only raise a known peak (`core.packing.learning`).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fetchml.core.gpus.model import Gpu
from fetchml.core.model import Task
from fetchml.core.packing.peaks import Job, LearnedPeaks
from fetchml.core.packing.room import GpuRoom
from fetchml.core.packing.waiting_jobs import WaitingJobs
from fetchml.core.scheduling.limits import PackingRule


class MemoryUse(NamedTuple):
    """Readings of an attempt so far."""

    attempt: int
    peak: int
    """MiB on any one of its GPUs."""
    readings: int
    last: int
    """Time of the newest reading."""
    gapless: bool
    """Whether there was no gap since the attempt's start."""


class Packing:
    """The state of packing. Only `peaks` is stored."""

    def __init__(
        self, rule: PackingRule, known: Iterable[tuple[Job, tuple[int, ...]]] = ()
    ) -> None:
        """`known`: see `LearnedPeaks`."""
        self.rule = rule
        self.peaks = LearnedPeaks(known)
        self.used: dict[str, MemoryUse] = {}
        """By the ids of running tasks."""
        self.shared: set[str] = set()
        """Ids of tasks that have shared a GPU in their current attempt."""
        self.starts = 0
        """Tasks that were started beside others, since the start of the server."""
        self.exhausted = 0
        """Attempts that ran out of GPU memory beside others, since the start of the server."""

    def copy(self) -> "Packing":
        """For estimates, which learn nothing."""
        other = Packing(self.rule)
        other.peaks = self.peaks.copy()
        other.shared = set(self.shared)
        return other

    def job(self, task: Task) -> Job | None:
        """The job by which a task may be packed; `None` if it needs GPUs of its own."""
        job = _job(task)
        return None if job is None or self.peaks.get(job) is None else job

    def queued_by(self, task: Task, waiting: WaitingJobs) -> Job | None:
        """The job by which a ready task is queued, known or not, so that nothing moves when it
        becomes known: thousands of its tasks may wait. `None` if the task never shares a GPU, or
        if too many unknown jobs wait: the task gets GPUs of its own then."""
        job = _job(task)
        if job is None or self.peaks.get(job) is not None or waiting.takes(job):
            return job
        return None

    def peak(self, task: Task) -> int | None:
        """The learned peak in MiB; `None` if the task needs GPUs of its own."""
        job = self.job(task)
        return None if job is None else self.peaks.get(job)

    def slots(self, task: Task, gpus: Iterable[Gpu], slots_per_gpu: int) -> int:
        """About how many slots of a GPU a task takes up, for estimates: all if it shares none."""
        share = 100 - self.rule.margin_percent
        memory_mb = min((gpu.memory_mb * share // 100 for gpu in gpus), default=0)
        peak = self.peak(task)
        if peak is None or not memory_mb:
            return slots_per_gpu
        return min(slots_per_gpu, max(1, -(-peak * slots_per_gpu // memory_mb)))

    def room(
        self,
        gpus: Iterable[Gpu],
        holders: Mapping[str, Iterable[str]],
        tasks: Mapping[str, Task],
    ) -> GpuRoom:
        share = 100 - self.rule.margin_percent
        return GpuRoom(
            {gpu.uuid: gpu.memory_mb * share // 100 for gpu in gpus},
            {
                uuid: {task_id: self.peak(tasks[task_id]) for task_id in ids}
                for uuid, ids in holders.items()
            },
        )

    def hold(self, task: Task, holders: Mapping[str, Iterable[str]]) -> None:
        """Note that a task got its GPUs. `holders`: with the task itself."""
        others = {
            each for uuid in task.gpu_uuids for each in holders.get(uuid, ()) if each != task.id
        }
        if others:
            self.shared.update(others, (task.id,))

    def count(self, task_id: str) -> None:
        """Count a task that was started just now, if it shares a GPU."""
        self.starts += task_id in self.shared

    def leave(self, task_id: str) -> None:
        """Note that an attempt is over."""
        self.shared.discard(task_id)
        self.used.pop(task_id, None)


def _job(task: Task) -> Job | None:
    """The job of a task that may share GPUs; `None` if it may not, whatever is known of it."""
    return (task.user, task.spec.job_name) if task.spec.gpu and not task.service else None
