"""Tasks, keys, and the values that they are made of. All are immutable: a change makes a new value.

Times are milliseconds since the epoch (UTC); the suffix `_ms` marks durations. The values are
stored as JSON. A field that is added later needs a default, so that older data still opens.
"""

from enum import StrEnum
from urllib.parse import urlsplit

import msgspec

from fetchml.core.requests import shell_words


class Value(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Base of values that refer to no cycle. Untracked by the garbage collector, which would
    otherwise stop the server while it traverses all live tasks."""


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
    """The shim stopped the command at its time limit, or the cluster at its own limit (`lost`)."""
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
    """Reasons to stop an attempt. Its task continues, except for IDLE."""

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
    """A more urgent task preempted it."""
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


class Status(StrEnum):
    """The phase of a task's current attempt. Clients see `Task.shown_status`.

    `core.lifecycle` has the moves between them and the reasons for each.
    """

    QUEUED = "queued"
    """No attempt is under way: the task waits for resources, its turn, or a retry's delay."""
    PREPARING = "preparing"
    """An attempt is under way and its command has not been started."""
    RUNNING = "running"
    """The command has been started."""
    COLLECTING = "collecting"
    """No process is left; the outputs are being kept. Only the slot is still held."""
    COMPLETED = "completed"
    """The last attempt's command exited with 0 and its outputs are kept. Final."""
    FAILED = "failed"
    """Ended otherwise, or cancelled; `failure_reason` and `error` have the reason. Final."""


ENDED = frozenset({Status.COMPLETED, Status.FAILED})
HOLDING = frozenset({Status.PREPARING, Status.RUNNING, Status.COLLECTING})
"""States in which a task has an attempt under way. It holds its slot unless it is `prestaged`."""


class Resources(Value, frozen=True):
    """An amount: what a task requests or holds, or what the host has."""

    cpu: int = 0
    """Cores."""
    memory_gb: int = 0
    """GiB."""
    gpu: int = 0
    """GPU slots: whole GPUs unless the host shares them."""


class DatasetSpec(Value, frozen=True):
    """A dataset that the request itself describes. `None`: not in the request."""

    name: str | None = None
    source: str | None = None
    """URL or path that it is fetched from."""
    sha256: str | None = None
    """Expected digest, hex; verified before the task runs."""
    mount_path: str | None = None
    """Its path in the task; by default `/data/NAME`."""


class Condition(StrEnum):
    """The end of another task, or of all tasks of a sweep, that a task waits for."""

    COMPLETED = "completed"
    """Of a sweep: each of its tasks has completed."""
    ENDED = "ended"
    """Either way. Of a sweep: none of its tasks is live."""
    FAILED = "failed"
    """Cancelled included. Of a sweep: all of its tasks have ended, and one or more have failed."""


class Dependency(Value, frozen=True):
    """A task, or a sweep, that a task starts after.

    With `task_id` alone it is that task; with `sweep_id` alone all tasks of the sweep. With both it
    is the task that had the same index in the sweep when the waiting task was submitted.
    """

    task_id: str = ""
    condition: Condition = Condition.COMPLETED
    sweep_id: str = ""
    same_index: bool = False
    """The dependency is on one task of `sweep_id`. `task_id` is empty only in a request for a
    sweep, whose tasks are not made yet."""

    @property
    def target(self) -> str:
        """Id of the task, or of the sweep if all of it has to end."""
        return self.task_id or self.sweep_id


class SecretForm(StrEnum):
    """How a task receives a secret."""

    ENV = "env"
    """As a variable of its name."""
    FILE = "file"
    """As a file of its name in `/secrets`."""


class SecretUse(Value, frozen=True):
    """A secret that a task requests."""

    name: str
    form: SecretForm = msgspec.field(default=SecretForm.ENV, name="as")


class Environment(Value, frozen=True):
    """The file of the snapshot that lists the task's packages. At most one of the first three
    fields is set; none is if the task has no environment, whatever its snapshot contains."""

    requirements: str | None = None
    """Path of a requirements file."""
    project: str | None = None
    """Folder with `pyproject.toml` and `uv.lock`; `.` is the snapshot's root."""
    script: str | None = None
    """Path of a script with inline metadata (PEP 723)."""
    versions: tuple[str, ...] = ()
    """Packages as `name==version`, beside `requirements` or `script`: uv installs no other versions
    of these."""

    @property
    def source(self) -> tuple[str, str] | None:
        """Name and value of the field that is set; `None` for no environment."""
        if self.requirements is not None:
            return "requirements", self.requirements
        if self.project is not None:
            return "project", self.project
        return None if self.script is None else ("script", self.script)

    @property
    def request(self) -> dict[str, object]:
        """It as a request has it."""
        fields: dict[str, object] = dict([self.source] if self.source is not None else [])
        return {**fields, "versions": list(self.versions)} if self.versions else fields


class EventKind(StrEnum):
    """An event in the life of a task. The names are on the wire."""

    STARTED = "started"
    """An attempt's command was started; retries included."""
    COMPLETED = "completed"
    FAILED = "failed"
    """Cancelled included."""
    PREEMPTED = "preempted"
    """A more urgent task preempted it; it is queued again."""
    IDLE = "idle"
    """Its GPUs have done nothing for a time."""


DEFAULT_EVENTS = (EventKind.COMPLETED, EventKind.FAILED)


class NotifyTarget(Value, frozen=True):
    """Stored with the task; a field added later must have a default."""

    url: str
    on: tuple[EventKind, ...] = DEFAULT_EVENTS

    @property
    def shown_url(self) -> str:
        """Scheme and host: the rest of a webhook's address often grants access, and others see
        the task."""
        return shown_url(self.url)


def shown_url(url: str) -> str:
    parts = urlsplit(url)
    rest = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{rest}"


class UsedDataset(Value, frozen=True):
    """A dataset as an attempt found it."""

    name: str
    sha256: str | None = None
    """Of the file; `None` for a folder, or a local file whose request has no digest."""
    listing: str | None = None
    """SHA-256 of the names, sizes and times of local files; `None` if `sha256` is set, or there
    are too many."""


class RanWith(Value, frozen=True):
    """What an attempt ran with, besides the fields of its task; `None` or empty if it does not
    apply or is not known. Stored with the task; a field added later must have a default."""

    attempt: int
    host: str | None = None
    """The host's name, or that of the cluster's node."""
    kernel: str | None = None
    """Release of the host's Linux kernel."""
    release: str | None = None
    """Version of FetchML."""
    image_id: str | None = None
    """`sha256:` and 64 hexadecimal digits."""
    image_digest: str | None = None
    """`NAME@sha256:…`; `None` for an image that no registry has."""
    environment: str | None = None
    """Id of its list of packages (`environments.package_lists`)."""
    datasets: tuple[UsedDataset, ...] = ()
    gpus: tuple[str, ...] = ()
    """Models, in the order of `Task.gpu_uuids`."""
    driver: str | None = None
    """Version of the GPU driver."""
    cuda: str | None = None
    """Version of CUDA that the driver supports."""


class Rerun(Value, frozen=True):
    """Stored with the task; a field added later must have a default."""

    of: str
    """Id of the task that it runs again."""
    parameters: dict[str, str] = {}
    """As of a sweep's task."""
    sweep_id: str | None = None
    """The sweep whose request the parameters fill in; `None`: the task's own."""
    own_args: bool = False
    """Its `args` replace those of the sweep's request."""


class SweepMember(Value, frozen=True):
    """Stored with the task; a field added later must have a default."""

    id: str
    """The sweep's id."""
    index: int
    """From 0, in the order of the sweep's parameters."""
    parameters: dict[str, str]
    max_parallel: int = 0
    """Tasks of the sweep that may be under way at the same time; 0: no limit."""
    retries: int = 0
    """Number of earlier resubmissions of the sweep's failed task with this index."""


class TaskSpec(Value, frozen=True):
    """A request, with the server's defaults filled in. `None`: not in the request."""

    job_name: str
    """A label; not unique."""
    image: str
    command: tuple[str, ...]
    priority: int = 5
    """1 to 10; 10 is the most urgent."""
    args: str | None = None
    """Split by the rules of a POSIX shell and appended to `command`."""
    snapshot_id: str | None = None
    datasets: tuple[str, ...] | None = None
    """Names of datasets that the server has."""
    dataset_specs: tuple[DatasetSpec, ...] | None = None
    cpu: int | None = None
    memory_gb: int | None = None
    gpu: int | None = None
    metadata: dict[str, str] | None = None
    env: dict[str, str] | None = None
    experiment_id: str | None = None
    timeout_seconds: int = 0
    """Run time after which the attempt is stopped; 0: no limit."""
    max_retries: int = 0
    preemptible: bool = False
    """The task may be stopped and run again later when a more urgent task needs its resources."""
    checkpoint: bool = False
    """The task has a folder `/checkpoint` that stays from attempt to attempt."""
    checkpoint_from: str | None = None
    """Id of the task whose checkpoint the first attempt begins with, as a copy."""
    volumes: tuple[str, ...] | None = None
    """Names of folders of the host that are mounted under /volumes."""
    secrets: tuple[SecretUse, ...] | None = None
    """Secrets of its user, by name; no name twice."""
    warn_seconds: int = 0
    """SIGUSR1 is sent so long before SIGTERM at the time limit, a preemption or a user's cancel;
    0: never."""
    start_after: int | None = None
    """Earliest start of the first attempt; `None`: at once."""
    after: tuple[Dependency, ...] | None = None
    """Tasks and sweeps that have to end before the first attempt; none is named twice."""
    inputs_from: tuple[str, ...] | None = None
    """Ids of tasks whose outputs it gets; `after` names each of them too."""
    hold: bool = False
    """The task waits until it is released. Never set once an attempt runs."""
    slurm: dict[str, str] | None = None
    """Parameters of its jobs on a Slurm cluster, by the names of `sbatch`'s options."""
    environment: Environment | None = None
    may_idle: bool = False
    """The task is neither reported nor stopped for leaving its GPUs idle."""
    notify: tuple[NotifyTarget, ...] | None = None
    """Addresses that get webhooks of it; `None`: the user's default ones, or else the server's."""
    sweep: SweepMember | None = None
    """Set by the server; `None` if the task belongs to no sweep."""
    rerun: Rerun | None = None
    """Set by the server; `None` unless the task runs another one again."""

    @property
    def parameters(self) -> dict[str, str]:
        """Its values of a sweep's parameters."""
        if self.sweep is not None:
            return self.sweep.parameters
        return {} if self.rerun is None else self.rerun.parameters

    @property
    def argv(self) -> tuple[str, ...]:
        """The command with the arguments as a POSIX shell would split them; no shell runs them."""
        return self.command + tuple(shell_words.split(self.args)) if self.args else self.command

    @property
    def resources(self) -> Resources:
        return Resources(self.cpu or 0, self.memory_gb or 0, self.gpu or 0)


class Idempotency(Value, frozen=True):
    """The Idempotency-Key of a create and the digest of its request."""

    key: str
    digest: str


class Sender(Value, frozen=True):
    """Origin of the create request: for the audit, never shown to other users."""

    key_id: str
    address: str
    """IP address of the client."""


class Task(Value, frozen=True):
    """One request and all that became of it."""

    id: str
    """UUIDv7."""
    user: str
    """Name of the key that created it."""
    spec: TaskSpec
    created_at: int
    status: Status = Status.QUEUED
    attempt: int = 0
    """Number of the current or last attempt, from 1; 0: none was begun."""
    retry_count: int = 0
    """Retries that count against `max_retries`."""
    not_before: int = 0
    """Earliest time of the next attempt; 0: at once."""
    started_at: int | None = None
    """Start of the current attempt's command; `None` if it has not been started."""
    ended_at: int | None = None
    """End of the task; `None` while it is live."""
    worker_id: str | None = None
    """The host that runs the attempt; `None` while the task waits."""
    error: str | None = None
    """The error of the task or of its last attempt, for users; `None` if none has failed."""
    failure_reason: FailureReason | None = None
    """`None` unless the status is FAILED."""
    exit_code: int | None = None
    """Of the last attempt; 128 + N for signal N. `None` if there is none."""
    cancel: Cancel | None = None
    """`None` if no cancel was requested."""
    end: AttemptEnd | None = None
    """End of the current attempt; `None` before COLLECTING."""
    progress: str | None = None
    """The current step of PREPARING, prestaging included, for users."""
    gpu_uuids: tuple[str, ...] = ()
    """GPUs of the current or last attempt; of a prestaged task, those that it waits for."""
    prestaged: bool = msgspec.field(default=False, name="ahead")
    """In `preparing`: its attempt is prestaged while it waits (`core.scheduling.waiting` has the
    sub-states). It holds nothing. Clients see it as `queued`. Stored as `ahead`."""
    allocated_at: int | None = msgspec.field(default=None, name="given_at")
    """When the current or last attempt got its resources; `None` if it has none yet. Stored as
    `given_at`."""
    halt: Halt | None = None
    """`None` unless the core is stopping the current attempt."""
    limit_changed: bool = False
    """The time limit was changed since the current attempt began: its shim is given the new one by
    a file."""
    idle_since: int | None = None
    """Since when a running task leaves its GPUs idle; `None` if it does not
    (`core.gpus.events`)."""
    infra_retries: int = 0
    """Retries after faults of the host; they do not count against `max_retries`."""
    preempted: int = 0
    """Attempts that were stopped for a more urgent task."""
    discarded: int = 0
    """Prestaged attempts that were discarded, without a fault of the task."""
    avoid_gpus: tuple[str, ...] = ()
    """UUIDs of GPUs that failed the task; it gets others as long as there are enough."""
    idempotency: Idempotency | None = None
    """`None` if the create had no Idempotency-Key."""
    sender: Sender | None = None
    """`None` for tasks of releases that did not record it."""
    hidden: bool = False
    """Deleted: absent from reads, kept for statistics."""
    kept: Kept | None = None
    """`None` if no attempt has ended, or an older release ran the task."""
    outputs_removed_at: int | None = None
    """When its outputs were pruned; `None` if they are kept."""
    edited_at: int | None = None
    """When its labels were last changed after its end; `None` if they were not."""
    released_at: int | None = None
    """When the last hold or condition was removed; `None` if there was none so far."""
    after_met: bool = False
    """The conditions of `after` hold. Not set if they did when the task was submitted, unless one
    is on all of a sweep, whose failed tasks may be submitted again."""
    superseded: bool = False
    """The failed task of a sweep was submitted again: the new task has its place in the sweep."""
    service: bool = False
    """A Jupyter service: scheduled and run as a task, and absent from every list of tasks."""
    begun_at: int | None = None
    """When the current or last attempt began, prestaging included; `None` if the task waits for its
    next one, or an older release began it."""
    earlier_attempts: tuple[Attempt, ...] = ()
    """Attempts after which the task was queued again, oldest first: the newest of them
    (`core.lifecycle`). Releases that kept none leave gaps in the numbers."""
    ran_with: RanWith | None = None
    """Of the current or last attempt that started; `None` if none did, or in older releases."""

    @property
    def shown_status(self) -> Status:
        """The status that clients see, filter by and count. A waiting task is QUEUED, also while
        its attempt is prestaged."""
        return Status.QUEUED if self.prestaged else self.status

    @property
    def exited_at(self) -> int | None:
        """When the processes of the current or last attempt were gone; `None` if they are not."""
        return None if self.end is None else self.end.at

    @property
    def ready_at(self) -> int:
        """Since when nothing but resources and its turn keep it from starting: its creation, or the
        end of its last delay or hold."""
        start_after, released_at = self.spec.start_after, self.released_at
        if not (self.not_before or start_after or released_at):
            return self.created_at
        return max(self.created_at, self.not_before, start_after or 0, released_at or 0)

    @property
    def has_open_conditions(self) -> bool:
        """Whether it may still wait for other tasks."""
        waits = self.status is Status.QUEUED and not self.attempt
        return self.spec.after is not None and waits and not self.after_met

    @property
    def is_held(self) -> bool:
        """Whether it waits for a release."""
        return self.spec.hold and self.shown_status is Status.QUEUED


class Change(Value, frozen=True):
    """One durable change of a task."""

    seq: int
    """Numbers all changes without a gap."""
    at: int
    task: Task
    """The task from then on."""

    @property
    def is_upkeep(self) -> bool:
        """Whether an ended task's outputs were pruned and nothing that is shown changed."""
        return self.task.outputs_removed_at == self.at and not self.task.hidden

    @property
    def is_after_end(self) -> bool:
        """Whether the task had ended before, and is not deleted: what counts ends skips it."""
        edited = self.task.edited_at == self.at and not self.task.hidden
        return edited or self.is_upkeep


class Role(StrEnum):
    """The role of a key's holder (`core.permissions`)."""

    VIEWER = "viewer"
    USER = "user"
    ADMIN = "admin"


class Principal(msgspec.Struct, frozen=True):
    """The caller of a request: the holder of a key, or the command of a task."""

    user: str
    """The key's name."""
    role: Role
    key_id: str
    address: str = ""
    """IP address of the client; empty if not known."""
    task_id: str | None = None
    """Task whose command calls with the task's token; `None` if the caller holds a key."""

    @property
    def sender(self) -> Sender:
        return Sender(self.key_id, self.address)


class Key(Value, frozen=True):
    """An API key's record. The key itself is never stored."""

    id: str
    digest: str
    """SHA-256 of the key, hex."""
    name: str
    """Becomes `Task.user` of tasks that are created with the key."""
    role: Role
    created_at: int
    expires_at: int | None = None
    """`None` if it does not expire."""
    revoked_at: int | None = None
    """`None` if it is not revoked."""
    last_used_at: int | None = None
    """`None` if it was never used."""
