"""Answers of the engine other than tasks. Transports convert them to JSON and messages."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from fetchml.core.jupyter import ServiceStatus
from fetchml.core.model import Role, Status, Task
from fetchml.core.requests.submission import TaskLimits


class QueueStats(msgspec.Struct, frozen=True):
    """The contract's QueueStats; `completed` and `failed` ended today in the server's zone."""

    queued: int
    running: int
    """Tasks that hold a slot: preparing, running, collecting."""
    completed: int
    failed: int
    workers: int
    """Executors that accept work."""


class QueueUse(msgspec.Struct, frozen=True):
    """Memory of the server that live tasks take."""

    bytes: int
    most_bytes: int
    refused: int
    """Submits that a user's quota or the queue's limit rejected since the server's start."""


class Shortage(msgspec.Struct, frozen=True):
    """A resource that a waiting task lacks: cpu (cores), memory_gb (GiB), gpu, slots (tasks),
    user_gpus and user_running (the rest of its user's quotas)."""

    resource: str
    requested: int
    free: int
    total: int
    blocked: tuple[str, ...] = ()
    """GPUs that cannot be allocated, each with the reason."""


class StartEstimate(msgspec.Struct, frozen=True):
    """When a waiting task will start, estimated from the run times of similar tasks."""

    p50: int
    """Milliseconds since the epoch (UTC). Half of such tasks start by then."""
    p90: int
    """Nine of ten such tasks start by then."""
    checked: int = 0
    """Earlier estimates whose outcome is known."""
    held_p50_percent: int | None = None
    """Percentage of them that started by their p50. 50 would be perfect."""
    held_p90_percent: int | None = None
    """Percentage of them that started by their p90. 90 would be perfect."""


class ValidatedTask(NamedTuple):
    """The task that a create request would create."""

    task: Task
    """Its id names no task, unless the idempotency key was used: then it is that task."""
    estimate: StartEstimate | None
    """`None` if it was not asked for, or its start can't be estimated."""


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The explanation of a task's current state."""

    task_id: str
    status: Status
    reason: str
    position: int | None = None
    """Place in the queue, from 1; `None` if the task does not wait."""
    missing: tuple[Shortage, ...] = ()
    progress: str | None = None
    estimate: StartEstimate | None = None
    """`None` if the task does not wait, or its start cannot be estimated."""


class WaitingTask(msgspec.Struct, frozen=True):
    """A waiting task in the order of the queue."""

    task: Task
    reason: str
    position: int | None
    """From 1; `None` while a retry is delayed."""
    estimate: StartEstimate | None


class WaitingList(NamedTuple):
    tasks: list[WaitingTask]
    total: int
    """All waiting tasks that the caller may see."""


class Quotas(msgspec.Struct, frozen=True):
    """Limits of one user at a time; 0: no limit."""

    gpus: int
    running: int
    queued: int
    queued_bytes: int
    storage_bytes: int


class ServerInfo(msgspec.Struct, frozen=True):
    """The server from a caller's view."""

    version: str
    launcher: str
    image: str
    command: Sequence[str]
    allow_images: Sequence[str]
    cpu: int
    memory_gb: int
    gpu: int
    max_running: int
    preemption: bool
    task_limits: TaskLimits
    max_retries: int
    quotas: Quotas
    datasets: Sequence[str]
    jupyter_images: Sequence[str]
    volumes: Sequence[str]
    """Names of those that the caller may use."""
    private: bool
    user: str
    role: Role
    environments: bool = False
    """Tasks may have an environment."""


class Finding(msgspec.Struct, frozen=True):
    """The result of one check of the host."""

    name: str
    finding: str
    fix: str = ""
    """The remedy of a problem; empty if there is none."""
    advice: str = ""
    """A safer configuration, although everything works; empty if there is none."""

    @property
    def ok(self) -> bool:
        return not self.fix


class ExperimentResult(NamedTuple):
    """A run of an experiment."""

    task: Task
    metrics: Mapping[str, float]
    """Empty while the task is live."""


class ExperimentResults(NamedTuple):
    results: Sequence[ExperimentResult]
    """Newest first."""
    total: int
    """All runs that the caller may see."""


class GpuUse(msgspec.Struct, frozen=True):
    """GPU time of a task in its current attempt."""

    task_id: str
    user: str
    gpu_seconds: float
    idle_seconds: float = 0.0
    """Time for which it has left its GPUs idle; 0 if it uses them."""


class TaskUse(msgspec.Struct, frozen=True):
    """Resources used by the processes of a task in its current attempt."""

    task_id: str
    user: str
    cpu_seconds: float
    memory_bytes: int
    """In use now."""
    read_bytes: int
    written_bytes: int


class WatchFilter(msgspec.Struct, frozen=True):
    """The tasks of a watch. An empty or `None` field does not restrict them."""

    task_id: str | None = None
    states: tuple[Status, ...] = ()
    """Compared with `Task.shown_status`."""
    user: str | None = None
    job_name_prefix: str | None = None
    experiment_id: str | None = None


class UpdateType(StrEnum):
    SNAPSHOT = "snapshot"
    """A live task as it was at `seq`, when a watch without `since` begins."""
    SYNCED = "synced"
    """The snapshot is complete; every later change follows. Without a task."""
    TASK_UPDATE = "task_update"
    TASK_COMPLETE = "task_complete"
    """Right after the update of a task's end, with the same task, for watches that request it."""
    TASK_DELETED = "task_deleted"
    RESYNC = "resync"
    """Changes up to `seq` were not delivered: read the state again. Every later change follows."""


class Update(msgspec.Struct, frozen=True):
    type: UpdateType
    seq: int
    """The number of the message (see `message_seq`)."""
    at: int
    """Milliseconds since the epoch (UTC)."""
    task: Task | None = None


class Batch(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """The newest state of each task that changed since the batch before."""

    seq: int
    """The number of the message (see `message_seq`)."""
    at: int
    """Milliseconds since the epoch (UTC)."""
    tasks: tuple[Task, ...]
    """In the order of their newest changes."""
    deleted: tuple[Task, ...]


class LogChunk(msgspec.Struct, frozen=True):
    attempt: int
    offset: int
    """Position of `data` in the attempt's output. After a gap, older bytes were dropped."""
    data: bytes


class LogTime(msgspec.Struct, frozen=True):
    """When a byte of a log was written."""

    at: int
    """Milliseconds since the epoch (UTC)."""
    offset: int


class LogStart(msgspec.Struct, frozen=True):
    """Where a read of a log begins."""

    attempt: int
    offset: int
    end: int
    """Size of the attempt's log when it was looked up, dropped bytes included."""


class LogInfo(msgspec.Struct, frozen=True):
    """The log of one attempt of a task."""

    task_id: str
    attempt: int
    """0: no attempt has started."""
    attempts: int
    """Number of the task's current or last attempt."""
    offset: int
    """The first byte that is kept. Older ones were dropped."""
    end: int
    """Size of the log, dropped bytes included."""
    may_grow: bool
    """Whether the attempt has not ended."""
    times: tuple[LogTime, ...] = ()
    """Ascending. Empty if an older release ran the attempt."""


class LogMatch(msgspec.Struct, frozen=True):
    """A line that contains the text of a search."""

    offset: int
    """First byte of the match in the attempt's log."""
    line_offset: int
    """First byte of `text` in the attempt's log: the start of the line, or of a part of it."""
    text: str
    """The line without its line break; of a long one the part around the match."""
    at: int | None = None
    """When it was written; `None` if no time was recorded."""


class LogMatches(msgspec.Struct, frozen=True):
    attempt: int
    matches: tuple[LogMatch, ...]
    """In the direction of the search."""
    next_offset: int | None
    """The `offset` that continues the search; `None` if the whole log was searched."""


class OutputFile(msgspec.Struct, frozen=True):
    """A file in a task's /outputs. `path` is relative, with `/`."""

    path: str
    size_bytes: int
    modified_at: int
    etag: str
    """Changes with the content."""


class NamedFolder(StrEnum):
    """Folders of a task that clients may read."""

    OUTPUTS = "outputs"
    CHECKPOINT = "checkpoint"


class Interruption(msgspec.Struct, frozen=True):
    """The progress of an interrupted attempt. Times are milliseconds since the epoch (UTC)."""

    task_id: str
    attempt: int
    started_at: int | None
    interrupted_at: int
    checkpoint_saved_at: int | None
    """When a file of the checkpoint was last written; `None` if there is none."""


class JupyterState(NamedTuple):
    """The part of a service that its page shows to a visitor without an API key."""

    status: ServiceStatus
    why: str
    """A sentence; empty while the service runs."""
    stops_at: int | None
    """When the idle service is stopped (milliseconds since the epoch, UTC); `None` if it is in
    use."""


class VisitorPolicy(NamedTuple):
    """The secrets that the proxy compares a service's visitors with. Never shown."""

    owner: str
    token: str
    private: bool
    """Whether the existence of the service is hidden from visitors without the token."""


class JupyterView(msgspec.Struct, frozen=True):
    """A Jupyter service as the caller may see it. Times in milliseconds since the epoch (UTC)."""

    id: str
    user: str
    name: str
    status: ServiceStatus
    url: str
    """Without the token."""
    created_at: int
    image: str
    workspace: str
    token: str | None = None
    """`None` if the caller may not have it, or the service has ended."""
    cpu: int | None = None
    memory_gb: int | None = None
    gpu: int | None = None
    reason: str | None = None
    """The reason for the service's state."""
    started_at: int | None = None
    ended_at: int | None = None
    last_activity: int | None = None
    stops_at: int | None = None
    """When the idle service is stopped unless there is activity; `None` if it is in use."""


class TaskPortLink(msgspec.Struct, frozen=True):
    """A link that opens a task's port in a browser."""

    url: str
    """It works once."""
    expires_at: int
    """Milliseconds since the epoch (UTC)."""


class HealthStatus(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """The server answers but cannot run tasks now (no launcher backend), or is draining."""
    UNHEALTHY = "unhealthy"
    """The server accepts no work: the disk is nearly full, or the store has failed."""


class Health(msgspec.Struct, frozen=True):
    status: HealthStatus
    reasons: tuple[str, ...] = ()
    accepts_work: bool = True
    """The answer to readiness probes."""
