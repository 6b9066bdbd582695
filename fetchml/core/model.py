"""What a task is. Immutable values: every change of a task is a new value.

Times are milliseconds since the epoch (UTC). Stored as JSON; a field added later must have a
default, so that what an older release wrote still opens.
"""

from enum import StrEnum

import msgspec


class Status(StrEnum):
    """The contract's task states. The last two are final. Clients see `Task.shown_status`."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    COLLECTING = "collecting"
    COMPLETED = "completed"
    FAILED = "failed"


ENDED = frozenset({Status.COMPLETED, Status.FAILED})
HOLDING = frozenset({Status.PREPARING, Status.RUNNING, Status.COLLECTING})
"""States in which a task has an attempt under way. It holds its slot unless it is `prestaged`."""


class FailureReason(StrEnum):
    EXIT_CODE = "EXIT_CODE"
    SIGNAL = "SIGNAL"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    PREPARE_FAILED = "PREPARE_FAILED"
    START_FAILED = "START_FAILED"
    LOST = "LOST"
    COLLECT_FAILED = "COLLECT_FAILED"


class Value(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Leads to no cycle, so the garbage collector need not visit it: it would pass through all
    live tasks again and again, and stop everything for as long."""


class Resources(Value, frozen=True):
    """What a task holds, or what the box has. CPU cores, GiB of memory, GPU slots."""

    cpu: int = 0
    memory_gb: int = 0
    gpu: int = 0


class DatasetSpec(Value, frozen=True):
    name: str | None = None
    source: str | None = None
    sha256: str | None = None
    mount_path: str | None = None


class TaskSpec(Value, frozen=True):
    """What was asked for, with the server's defaults filled in. `None`: not asked for."""

    job_name: str
    image: str
    command: tuple[str, ...]
    priority: int = 5
    args: str | None = None
    snapshot_id: str | None = None
    datasets: tuple[str, ...] | None = None
    dataset_specs: tuple[DatasetSpec, ...] | None = None
    cpu: int | None = None
    memory_gb: int | None = None
    gpu: int | None = None
    metadata: dict[str, str] | None = None
    env: dict[str, str] | None = None
    experiment_id: str | None = None
    timeout_seconds: int = 0
    """Run time after which the task is ended; 0: no limit."""
    max_retries: int = 0
    preemptible: bool = False
    """It may be stopped, and begun anew later, when a more urgent task needs its place."""

    @property
    def resources(self) -> Resources:
        return Resources(self.cpu or 0, self.memory_gb or 0, self.gpu or 0)


class User(Value, frozen=True, tag="user"):
    """A person or program with a key."""

    name: str
    """Without a blank, as all names of keys are."""


class Server(Value, frozen=True, tag="server"):
    """The server itself."""

    reason: str
    """For the task's user; holds a blank: "idle for 4 h"."""


Actor = User | Server
"""On whose behalf a task is ended."""


class Cancel(Value, frozen=True):
    """A durable request to end a task."""

    by: str
    """The actor as it is stored and shown: a user's name or the server's reason."""
    at: int

    @classmethod
    def of(cls, actor: Actor, at: int) -> "Cancel":
        return cls(actor.name if isinstance(actor, User) else actor.reason, at)

    @property
    def actor(self) -> Actor:
        return Server(self.by) if " " in self.by else User(self.by)


class AttemptEnd(Value, frozen=True):
    """How an attempt's processes ended, as the shim recorded it.

    Exactly one of `code`, `signal`, `lost` is set; `lost` says why nobody knows the true end.
    """

    at: int
    started_at: int | None = None
    code: int | None = None
    signal: int | None = None
    lost: str | None = None
    timed_out: bool = False
    stopped: bool = False
    """It was sent SIGTERM from outside while it ran."""
    out_of_memory: bool = False
    start_error: str | None = None
    """Why the command could not be started at all (not found, not executable)."""


class Kept(Value, frozen=True):
    """What a task's files take on the disk, in whole blocks, measured when an attempt ended."""

    outputs_bytes: int = 0
    outputs_files: int = 0
    """Files and folders."""
    logs_bytes: int = 0
    """Of all attempts, with their records."""
    logs_files: int = 0
    left_out_files: int = 0
    """Files of the last attempt's outputs that were beyond [tasks] outputs_files and outputs_mb."""
    left_out_bytes: int = 0

    @property
    def note(self) -> str | None:
        """What is missing from the outputs, for people; `None` if nothing is."""
        if not self.left_out_files:
            return None
        size = f"{self.left_out_bytes / (1 << 20):.1f} MiB"
        return (
            f"{self.left_out_files} output files ({size}) were not kept: they are beyond the "
            "server's [tasks] outputs_files or outputs_mb"
        )


class HaltCause(StrEnum):
    GPU = "gpu"
    """Its GPU is lost, or can't be used; it is tried again on another."""
    PREEMPTED = "preempted"
    """It makes way for a more urgent task."""


class Halt(Value, frozen=True):
    """The core's own durable wish to end an attempt."""

    cause: HaltCause
    why: str
    at: int
    gpus: tuple[str, ...] = ()
    """Those that are not to be given to the task again."""
    by: str | None = None
    """The task that it makes way for."""


class Idempotency(Value, frozen=True):
    """The client's key of a create, and the digest of the request that it came with."""

    key: str
    digest: str


class Sender(Value, frozen=True):
    """Where the request that made it came from: for the audit, never shown to others."""

    key_id: str
    address: str


class Task(Value, frozen=True):
    id: str
    user: str
    spec: TaskSpec
    created_at: int
    status: Status = Status.QUEUED
    attempt: int = 0
    """Number of the current or last attempt, from 1; 0: none was begun."""
    retry_count: int = 0
    not_before: int = 0
    """A retry waits until then."""
    started_at: int | None = None
    ended_at: int | None = None
    worker_id: str | None = None
    error: str | None = None
    failure_reason: FailureReason | None = None
    exit_code: int | None = None
    cancel: Cancel | None = None
    end: AttemptEnd | None = None
    """The end of the current attempt, known from `collecting` on."""
    progress: str | None = None
    """What `preparing`, prestaging included, is doing just now, for people."""
    gpu_uuids: tuple[str, ...] = ()
    """The GPUs of the current or last attempt."""
    prestaged: bool = msgspec.field(default=False, name="ahead")
    """In `preparing`: its attempt is prestaged while it waits (`core.waiting` has the sub-states).
    It holds nothing; others still hold its GPUs. Clients see it as `queued`. Stored as `ahead`."""
    allocated_at: int | None = msgspec.field(default=None, name="given_at")
    """Since when the current attempt holds its resources; `None` if it does not. Stored as
    `given_at`."""
    halt: Halt | None = None
    infra_retries: int = 0
    """Attempts that were tried again because of a fault of the box: `retry_count` has the rest."""
    preempted: int = 0
    """How often it was stopped to make way."""
    discarded: int = 0
    """Attempts that were made ready ahead and thrown away: no fault of the task, and no retry."""
    avoid_gpus: tuple[str, ...] = ()
    """GPUs that failed it: it is given others while there are others."""
    idempotency: Idempotency | None = None
    sender: Sender | None = None
    hidden: bool = False
    """Deleted: gone from reads; kept for statistics."""
    kept: Kept | None = None
    """None: no attempt has ended, or an older release ran it."""
    outputs_removed_at: int | None = None
    """When its outputs were removed, after its end; None: they are kept."""
    service: bool = False
    """It is a Jupyter service: it runs as a task does, and is never seen among tasks."""

    @property
    def shown_status(self) -> Status:
        """What clients see, filter by and count: a task that waits is `queued`, also while its
        attempt is prestaged."""
        return Status.QUEUED if self.prestaged else self.status


class Change(Value, frozen=True):
    """One durable change: task `task` became this at `at`. `seq` numbers changes without gaps."""

    seq: int
    at: int
    task: Task

    @property
    def is_upkeep(self) -> bool:
        """Its outputs were removed: it ended before, and nothing that a reader sees has changed."""
        return self.task.outputs_removed_at == self.at and not self.task.hidden


class Role(StrEnum):
    VIEWER = "viewer"
    USER = "user"
    ADMIN = "admin"


class Principal(msgspec.Struct, frozen=True):
    """Who asks: the holder of a key."""

    user: str
    role: Role
    key_id: str
    address: str = ""
    """Where the request came from."""

    @property
    def sender(self) -> Sender:
        return Sender(self.key_id, self.address)


class Key(Value, frozen=True):
    """An API key's record. The key itself is never stored, only its SHA-256 (`digest`, hex)."""

    id: str
    digest: str
    name: str
    """Becomes `Task.user` of what is submitted with it."""
    role: Role
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
