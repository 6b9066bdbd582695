"""Ends of tasks and attempts: requests to end them, records of their ends, and kept outputs."""

from enum import StrEnum

from fetchml.core.values import Value


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
    """The end of an attempt's processes, as the shim recorded it.

    Exactly one of `code` and `signal` is set if the shim recorded it, else `lost`.
    """

    at: int
    started_at: int | None = None
    """`None` if the command was not started or the time is not known."""
    code: int | None = None
    """Exit code."""
    signal: int | None = None
    """Number of the signal that ended the command."""
    lost: str | None = None
    """The reason why the true end is unknown, or the cause of an end not caused by the task."""
    timed_out: bool = False
    """The shim stopped the command at its time limit, or a cluster at one of its own (`lost`)."""
    stopped: bool = False
    """The shim received SIGTERM while the command ran."""
    warned: bool = False
    """The shim sent the warning before the time limit."""
    out_of_memory: bool = False
    """The kernel killed a process of the attempt for lack of memory."""
    start_error: str | None = None
    """The error of a command that could not be started, such as not found; `None` if it started."""
    no_image: bool = False
    """The task's image is nowhere, so the command was not started (`lost`)."""


class Kept(Value, frozen=True):
    """Disk use of a task's files, in whole blocks, measured when an attempt ended."""

    outputs_bytes: int = 0
    """Outputs and checkpoint."""
    outputs_files: int = 0
    """Files and folders."""
    logs_bytes: int = 0
    """Logs of all attempts, with the records of their ends."""
    logs_files: int = 0
    left_out_files: int = 0
    """Files of the last attempt's outputs that were beyond [tasks] outputs_files and outputs_mb."""
    left_out_bytes: int = 0

    @property
    def note(self) -> str | None:
        """Outputs that are missing, as a sentence for users; `None` if all are kept."""
        if not self.left_out_files:
            return None
        size = f"{self.left_out_bytes / (1 << 20):.1f} MiB"
        return (
            f"{self.left_out_files} output files ({size}) were not kept: they are beyond the "
            "server's [tasks] outputs_files or outputs_mb"
        )


class HaltCause(StrEnum):
    """Reasons to stop an attempt. But for IDLE, its task goes on."""

    GPU = "gpu"
    """A GPU of the attempt is lost or can't be used; the task is retried on another."""
    GPU_MEMORY = "gpu_memory"
    """The attempt ran out of GPU memory beside other tasks that the server had packed with it; the
    task is retried."""
    PREEMPTED = "preempted"
    """A more urgent task needs the resources; the task is queued again, which is no retry."""
    INTERRUPTED = "interrupted"
    """A user has the attempt end as if its host were lost; the task is queued again, which is no
    retry."""
    DECLARED_LOST = "declared_lost"
    """An admin gave up an attempt whose node is silent; the task is retried."""
    IDLE = "idle"
    """The task left its GPUs idle; it fails."""


class Halt(Value, frozen=True):
    """The core's durable decision to stop an attempt."""

    cause: HaltCause
    why: str
    """For users."""
    at: int
    gpus: tuple[str, ...] = ()
    """UUIDs of the GPUs that failed the task; it avoids them from then on."""
    by: str | None = None
    """Id of the preempting task; `None` for other causes."""


class FailureReason(StrEnum):
    """Reasons why tasks fail. `core.retry` decides which of these are retried."""

    EXIT_CODE = "EXIT_CODE"
    """The command exited with a code other than 0."""
    SIGNAL = "SIGNAL"
    """A signal ended the command, and none of the reasons below applies."""
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    """The kernel killed the command for using more memory than the task may."""
    TIMEOUT = "TIMEOUT"
    """The command ran longer than `timeout_seconds`."""
    CANCELLED = "CANCELLED"
    """A user or the server cancelled the task, whatever the command did afterwards."""
    PREPARE_FAILED = "PREPARE_FAILED"
    """Image, snapshot or datasets could not be prepared, or the request exceeds the host."""
    START_FAILED = "START_FAILED"
    """The command does not exist in the image or is not executable."""
    LOST = "LOST"
    """The fault is the host's: its end is not known, its GPU failed, or it was stopped from
    outside."""
    COLLECT_FAILED = "COLLECT_FAILED"
    """The command exited with 0, and its outputs could not be kept."""
    DEPENDENCY_FAILED = "DEPENDENCY_FAILED"
    """A condition of `after` can no longer hold."""
    IDLE = "IDLE"
    """The server stopped it because it left its GPUs idle."""


class Requeue(StrEnum):
    """Reasons why a task is queued again after an attempt."""

    RETRY = "retry"
    """The attempt failed; it counts against `max_retries`."""
    HOST_FAULT = "host_fault"
    """The fault is the host's; it counts as `infra_retries`."""
    PREEMPTED = "preempted"
    """It made way for a more urgent task."""
    INTERRUPTED = "interrupted"
    """A user interrupted it."""
    DISCARDED = "discarded"
    """It was prestaged and never got its resources."""


class Attempt(Value, frozen=True):
    """An attempt after which its task was queued again."""

    number: int
    cause: Requeue
    exited_at: int
    """When its processes were gone."""
    begun_at: int | None = None
    """`None` if an older release began it."""
    allocated_at: int | None = None
    """When it got its resources; `None` if it never did."""
    started_at: int | None = None
    """Start of its command; `None` if it was not started."""
    worker_id: str | None = None
    """The host that ran it; `None` if it had none."""
    failure_reason: FailureReason | None = None
    """`None` if it did not fail."""
    exit_code: int | None = None
    error: str = ""
    """For users, cut to a bounded length; empty if there was none."""
