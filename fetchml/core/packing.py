"""Packing: which tasks may share a GPU, by the peaks of GPU memory that their jobs have shown.

Without packing any tasks share a GPU that has a free slot. With it a task starts beside others only
if all of their learned peaks fit together (`GpuRoom`). A task whose job has no peak yet, and a
service, gets GPUs of its own.

A peak is the most memory (MiB) that an attempt used on any one of its GPUs. The expected peak is
the highest of the newest ones: growth counts at once, shrinkage after KEPT attempts. A job belongs
to one user, so the tasks of one user teach nothing about those of another.

An attempt teaches its peak if it completed and its memory was read from start to end without a gap.
Any other attempt may have needed more than was read, so it can only raise a peak
(`core.gpus.events`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fetchml.core.gpus.allocator import Gpu
from fetchml.core.model import Task
from fetchml.core.scheduling.resources import PackingRule

KEPT = 10
"""Newest peaks of a job."""
MOST_OF_USER = 200
"""Jobs of one user; the one that was learned longest ago is forgotten first."""
MOST = 2_000
"""Jobs of all users. Beyond that the user with the most loses one."""

Job = tuple[str, str]
"""User and job name."""


class _Peaks(NamedTuple):
    peak: int
    """The highest of `peaks`."""
    peaks: tuple[int, ...]


class LearnedPeaks:
    def __init__(self, peaks_by_job: Iterable[tuple[Job, tuple[int, ...]]] = ()) -> None:
        """`peaks_by_job`: a result of `dump`."""
        self._jobs: dict[Job, _Peaks] = {}
        self._of_user: Counter[str] = Counter()
        self.changed: set[Job] = set()
        """Jobs whose peaks differ from what is stored, forgotten ones included."""
        for job, peaks in peaks_by_job:
            self._set(job, peaks[-KEPT:])
        # What exceeds the bounds is in the store still: a killed server may have left it there.
        self.changed.difference_update(self._jobs)

    def copy(self) -> "LearnedPeaks":
        other = LearnedPeaks()
        other._jobs = dict(self._jobs)
        other._of_user = Counter(self._of_user)
        return other

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, job: Job) -> int | None:
        """The expected peak in MiB; `None` if the job is not known."""
        learned = self._jobs.get(job)
        return None if learned is None else learned.peak

    def peaks(self, job: Job) -> tuple[int, ...]:
        """The newest peaks, the oldest first; empty if the job is not known."""
        learned = self._jobs.get(job)
        return () if learned is None else learned.peaks

    def dump(self) -> list[tuple[Job, tuple[int, ...]]]:
        """All jobs with their peaks, the job that was learned longest ago first."""
        return [(job, learned.peaks) for job, learned in self._jobs.items()]

    def learn(self, job: Job, peak: int) -> None:
        """Add the peak of an attempt."""
        self._set(job, (*self.peaks(job), peak)[-KEPT:])

    def exceed(self, job: Job, peak: int) -> None:
        """Note that an attempt of a known job uses this much, before it has ended."""
        learned = self._jobs.get(job)
        if learned is not None and peak > learned.peak:
            self._set(job, (*learned.peaks[:-1], peak))

    def _set(self, job: Job, peaks: tuple[int, ...]) -> None:
        if self._jobs.pop(job, None) is None:
            self._of_user[job[0]] += 1
        self._jobs[job] = _Peaks(max(peaks), peaks)
        self.changed.add(job)
        if self._of_user[job[0]] > MOST_OF_USER:
            self._forget_one(job[0])
        elif len(self._jobs) > MOST:
            self._forget_one(self._of_user.most_common(1)[0][0])

    def _forget_one(self, user: str) -> None:
        oldest = next(job for job in self._jobs if job[0] == user)
        del self._jobs[oldest]
        self._of_user[user] -= 1
        if not self._of_user[user]:
            del self._of_user[user]
        self.changed.add(oldest)


class WaitingJobs:
    """The scheduler looks at a sub-queue for each job, so that their number is bounded like that of
    the known jobs."""

    def __init__(self) -> None:
        self._shapes: Counter[Job] = Counter()
        """Number of shapes by job."""
        self._of_user: Counter[str] = Counter()
        """Number of jobs by user."""

    def copy(self) -> "WaitingJobs":
        other = WaitingJobs()
        other._shapes = Counter(self._shapes)
        other._of_user = Counter(self._of_user)
        return other

    def takes(self, job: Job) -> bool:
        """Return whether ready tasks of the job may have sub-queues of their own."""
        if job in self._shapes:
            return True
        return len(self._shapes) < MOST and self._of_user[job[0]] < MOST_OF_USER

    def add(self, job: Job | None) -> None:
        """Count a shape; `None`: one of no job."""
        if job is not None:
            self._of_user[job[0]] += job not in self._shapes
            self._shapes[job] += 1

    def remove(self, job: Job | None) -> None:
        """Forget a shape that `add` has counted."""
        if job is None:
            return
        self._shapes[job] -= 1
        if not self._shapes[job]:
            del self._shapes[job]
            self._of_user[job[0]] -= 1
            if not self._of_user[job[0]]:
                del self._of_user[job[0]]


class GpuRoom:
    """A task fits on an empty GPU whatever its peak is. It fits beside others if its peak and all
    of theirs are known, and their sum is at most the GPU's memory without the margin."""

    __slots__ = ("_held", "_memory_mb")

    def __init__(
        self, memory_mb: Mapping[str, int], peaks_by_gpu: Mapping[str, Mapping[str, int | None]]
    ) -> None:
        """`memory_mb`: of the GPUs, without the margin. `peaks_by_gpu`: the learned peaks of the
        tasks on them, in MiB, by their ids; `None` if one is not known."""
        self._memory_mb = memory_mb
        self._held = {uuid: dict(peaks) for uuid, peaks in peaks_by_gpu.items()}

    def copy(self) -> "GpuRoom":
        return GpuRoom(self._memory_mb, self._held)

    def left(self, uuid: str) -> int | None:
        """MiB for one more task on a GPU that tasks hold; 0 if there is room for none. `None` if no
        task holds it."""
        if not (peaks := self._held.get(uuid)):
            return None
        measured = [peak for peak in peaks.values() if peak is not None]
        return max(0, self._remaining_mb(uuid, measured)) if len(measured) == len(peaks) else 0

    def fits(self, uuid: str, peak: int | None) -> bool:
        """Whether a task with this peak fits; `None`: the peak is not known."""
        if not (peaks := self._held.get(uuid)):
            return True
        measured = [each for each in peaks.values() if each is not None]
        if peak is None or len(measured) < len(peaks):
            return False
        return peak <= self._remaining_mb(uuid, measured)

    def _remaining_mb(self, uuid: str, peaks: Iterable[int]) -> int:
        """Memory in MiB that remains beside these peaks; may be negative."""
        return self._memory_mb.get(uuid, 0) - sum(peaks)

    def take(self, uuid: str, task_id: str, peak: int | None) -> None:
        self._held.setdefault(uuid, {})[task_id] = peak

    def release(self, uuid: str, task_id: str) -> None:
        self._held.get(uuid, {}).pop(task_id, None)


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
        self, rule: PackingRule, peaks_by_job: Iterable[tuple[Job, tuple[int, ...]]] = ()
    ) -> None:
        """`peaks_by_job`: see `LearnedPeaks`."""
        self.rule = rule
        self.peaks = LearnedPeaks(peaks_by_job)
        self.used: dict[str, MemoryUse] = {}
        """By the ids of running tasks."""
        self.shared: set[str] = set()
        """Ids of tasks that have shared a GPU in their current attempt."""
        self.starts = 0
        """Tasks started on a shared GPU since server start."""
        self.exhausted = 0
        """Attempts that ran out of GPU memory on a shared GPU since server start."""

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
    """The job of a task that may share GPUs; `None` if it may not, even with a known peak."""
    return (task.user, task.spec.job_name) if task.spec.gpu and not task.service else None
