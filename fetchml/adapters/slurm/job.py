"""A job as Slurm reports it, and the request that starts one.

What its state means for the task: `attempt_exits.py`, then `core/verdict.py`."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

_ID = re.compile(r"([0-9]{1,10})(?:_([0-9]{1,10}))?")

_OVER = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "RECONFIG_FAIL",
        "REVOKED",
        "TIMEOUT",
    ]
)
_UNFINISHED = frozenset({"COMPLETING", "REQUEUED", "REQUEUE_HOLD", "STAGE_OUT"})


class ArrayTask(NamedTuple):
    """The id of a task of a job array, which Slurm writes as `12_3`."""

    array: int
    number: int

    def __str__(self) -> str:
        return f"{self.array}_{self.number}"


JobId = int | ArrayTask


def job_id(text: str) -> JobId | None:
    """Read the id of one job; `None` for other text, such as `12_[1-3]`."""
    if (match := _ID.fullmatch(text)) is None:
        return None
    number, index = match.groups()
    return int(number) if index is None else ArrayTask(int(number), int(index))


def number_of(job_id: JobId) -> int:
    """Return the number of a job, or of the array that it belongs to."""
    return job_id if isinstance(job_id, int) else job_id.array


def task_name(array: str, index: int) -> str:
    """Return a name for one task of an array, which itself has only the array's name."""
    return f"{array}.{index}"


class Job(msgspec.Struct, frozen=True):
    """A job, or a task of a job array, as Slurm reported it. Its id alone identifies nothing: a
    controller that crashed gives ids out again."""

    id: JobId
    state: tuple[str, ...]
    """The state and its flags, as `RUNNING` or `CANCELLED`, `COMPLETING`."""
    name: str | None = None
    """`None` if this reply does not have it. Of a task of an array: `task_name`."""
    reason: str = ""
    """The reason why it waits or ended, in Slurm's words; empty or `None` if Slurm has none."""
    nodes: str = ""
    code: int | None = None
    """Exit code of its script; `None` if it has not ended, or this reply does not have it."""
    begins_at: int | None = None
    """Slurm's estimate of the start, in seconds since the epoch."""
    user: str = ""
    """Slurm's name of the account; empty if this reply does not have it."""

    def begins_with(self, prefix: str) -> bool:
        """Whether this reply has its name, and that begins with `prefix`."""
        return (self.name or "").startswith(prefix)

    @property
    def is_over(self) -> bool:
        """Whether Slurm reports that no process of it is left."""
        words = frozenset(self.state)
        return bool(words & _OVER) and not words & _UNFINISHED

    @property
    def is_ending(self) -> bool:
        """Whether it will not start its script any more, or is over."""
        words = frozenset(self.state)
        return bool(words & _OVER) or "COMPLETING" in words

    @property
    def has_outcome(self) -> bool:
        """Whether it has a final state; some of its processes may be left."""
        return bool(frozenset(self.state) & _OVER)

    @property
    def is_pending(self) -> bool:
        return "PENDING" in self.state

    @property
    def node_failed(self) -> bool:
        """Slurm gave the job up because its node is silent: its processes may still run."""
        return bool({"NODE_FAIL", "BOOT_FAIL"} & set(self.state))

    @property
    def ended_as(self) -> str:
        """The final state in words: `FAILED (NonZeroExitCode)`."""
        words = " ".join(self.state)
        return f"{words} ({self.reason})" if self.reason not in ("", "None") else words


def of_user(jobs: Iterable[Job], user: str) -> list[Job]:
    """Return the jobs that may be those of an account; all if `user` is empty."""
    return [job for job in jobs if not user or job.user in ("", user)]


class PendingJob(NamedTuple):
    """A job of anybody that waits in Slurm's queue."""

    id: JobId
    priority: int
    """The highest comes first; 0 if it is held."""
    partitions: tuple[str, ...]


NOT_QUEUED = frozenset(
    ["BeginTime", "Dependency", "DependencyNeverSatisfied", "JobHeldAdmin", "JobHeldUser"]
)
"""Reasons of jobs that wait for something else than their turn."""
_RANGES = re.compile(r"(\d{1,9}(?:-\d{1,9})?(?:,\d{1,9}(?:-\d{1,9})?)*)(?:%\d+)?", re.ASCII)
_MOST_INDEXES = 1000


def indexes_in(text: str) -> list[int]:
    """Read the indexes of an array, such as `0-5,7%2`; the first ones of many, none of other text,
    such as one that Slurm has cut off."""
    match = _RANGES.fullmatch(text)
    indexes: list[int] = []
    for part in match[1].split(",") if match else ():
        first, _, last = part.partition("-")
        most = int(first) + _MOST_INDEXES - len(indexes)
        indexes += range(int(first), min(int(last or first) + 1, most))
    return indexes


PARAMETERS = (
    "partition",
    "account",
    "qos",
    "constraint",
    "reservation",
    "nodelist",
    "exclude",
    "licenses",
)
"""Fields of a submission that are options of sbatch."""


class Submission(msgspec.Struct, frozen=True):
    """A job to submit. Fields that are `None` or 0 are left to Slurm."""

    name: str
    script: str
    folder: str
    """Working directory; its `job.out` gets what the script prints, unless it is an array."""
    cpus: int = 0
    memory_mb: int = 0
    minutes: int = 0
    """Slurm's time limit. The shim's own comes first."""
    nice: int = 0
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = None
    """Generic resources, GPUs included: `gpu:2,disk:1`."""
    reservation: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    licenses: str | None = None
    exclusive: str | None = None
    """`true`: no other job on its node; `user`: none of another account."""
    lease_seconds: int = 0
    """Of the attempt's lease, which its shim renews; 0: it has none."""

    user: str = ""
    """Name of the account that submits it; empty for the server's own. In an attempt's record it
    counts for nothing: the settings decide."""
    indexes: str = ""
    """Of an array: the indexes of its tasks, as `0-5,7`; empty if it is a single job."""

    @property
    def output(self) -> str:
        """The file for what the script prints."""
        return "/dev/null" if self.indexes else f"{self.folder}/job.out"

    @property
    def resources(self) -> list[str]:
        """The parts of `gres`."""
        return self.gres.split(",") if self.gres else []
