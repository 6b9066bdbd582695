"""What the engine answers with, beside tasks. Transports turn these into JSON and messages."""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from fetchml.core.model import Status, Task
from fetchml.core.requests.jupyter import ServiceStatus


class QueueStats(msgspec.Struct, frozen=True):
    """The contract's QueueStats; `completed` and `failed` ended today in the server's zone."""

    queued: int
    running: int
    """All that hold a slot: preparing, running, collecting."""
    completed: int
    failed: int
    workers: int
    """Executors that can take work."""


class QueueUse(msgspec.Struct, frozen=True):
    """What live tasks take of the server's memory."""

    bytes: int
    most_bytes: int
    refused: int
    """Submits since the server's start that a user's quota or the queue's limit kept out."""


class Shortage(msgspec.Struct, frozen=True):
    """What a waiting task lacks. `resource`: cpu (cores), memory_gb (GiB), gpu, slots (tasks),
    user_gpus and user_running (what is left to its user)."""

    resource: str
    requested: int
    free: int
    total: int
    blocked: tuple[str, ...] = ()
    """GPUs that can't be given, each with the reason."""


class StartEstimate(msgspec.Struct, frozen=True):
    """When a task that waits will start, as far as the run times of like tasks tell."""

    p50: int
    """Milliseconds since the epoch (UTC). Half of such tasks start by then."""
    p90: int
    """Nine of ten such tasks start by then."""
    checked: int = 0
    """Earlier estimates that could be held to what came."""
    held_p50_percent: int | None = None
    """How many of a hundred of them had started by their p50. 50 were perfect."""
    held_p90_percent: int | None = None
    """How many of a hundred of them had started by their p90. 90 were perfect."""


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a task is where it is."""

    task_id: str
    status: Status
    reason: str
    position: int | None = None
    """Place in the queue; 1 is next. None: it does not wait."""
    missing: tuple[Shortage, ...] = ()
    progress: str | None = None
    estimate: StartEstimate | None = None
    """None: it does not wait, or it can't be told when it will start."""


class GpuUse(msgspec.Struct, frozen=True):
    """What a task that holds GPUs has had of them in this attempt."""

    task_id: str
    user: str
    gpu_seconds: float


class WatchFilter(msgspec.Struct, frozen=True):
    """Which tasks to watch. Empty or `None`: no restriction."""

    task_id: str | None = None
    states: tuple[Status, ...] = ()
    """As they are shown: see `Task.shown_status`."""
    user: str | None = None
    job_name_prefix: str | None = None
    experiment_id: str | None = None


class UpdateType(StrEnum):
    SNAPSHOT = "snapshot"
    """A live task as it was at `seq`, when a watch without `since` begins."""
    SYNCED = "synced"
    """The snapshot is complete; from here every change follows. No task."""
    TASK_UPDATE = "task_update"
    TASK_COMPLETE = "task_complete"
    """Right after the update of a task's end, with the same task: of watches that ask for it."""
    TASK_DELETED = "task_deleted"
    RESYNC = "resync"
    """Changes up to `seq` were not delivered: read the state anew; what follows is whole."""


class Update(msgspec.Struct, frozen=True):
    type: UpdateType
    seq: int
    """The message's own number, of the scheme in `message_seq`."""
    at: int
    """Milliseconds since the epoch (UTC)."""
    task: Task | None = None


class LogChunk(msgspec.Struct, frozen=True):
    attempt: int
    offset: int
    """Where `data` begins in the attempt's whole output. A gap: older bytes were dropped."""
    data: bytes


class OutputFile(msgspec.Struct, frozen=True):
    """A file that the task left in /outputs. `path` is relative, with `/`."""

    path: str
    size_bytes: int
    modified_at: int


class JupyterState(NamedTuple):
    """What the page of a service may show to a visitor that holds no key of FetchML."""

    status: ServiceStatus
    why: str
    """In a sentence; empty while it runs."""
    stops_at: int | None
    """It is idle, and ends then (milliseconds since the epoch, UTC)."""


class JupyterDoor(NamedTuple):
    """What the proxy needs to know of a service's visitors. Never shown."""

    owner: str
    token: str
    private: bool
    """A visitor without the token may not even learn that there is such a service."""


class JupyterView(msgspec.Struct, frozen=True):
    """A Jupyter service, as who asks may see it. Times in milliseconds since the epoch (UTC)."""

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
    """None: not for who asks, or it opens nothing any more."""
    cpu: int | None = None
    memory_gb: int | None = None
    gpu: int | None = None
    reason: str | None = None
    """Why it is in its state."""
    started_at: int | None = None
    ended_at: int | None = None
    last_activity: int | None = None
    stops_at: int | None = None
    """It is idle, and will be stopped then unless something happens in it."""


class HealthStatus(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It answers, but can't run tasks now (the launcher's backend is away) or is draining."""
    UNHEALTHY = "unhealthy"
    """It takes no new work: the disk is nearly full, or the store failed."""


class Health(msgspec.Struct, frozen=True):
    status: HealthStatus
    reasons: tuple[str, ...] = ()
    accepts_work: bool = True
    """What readiness probes ask."""
