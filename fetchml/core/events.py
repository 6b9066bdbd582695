"""The core's input (events) and output (decisions, made of changes and effects).

Every event has `now`, its time in milliseconds since the epoch. Events of an attempt name it by
`task_id` and `attempt`; if that is not the task's current attempt, they are stale and change
nothing. An effect is carried out once the changes of its decision are durable, except CheckGpus,
which only reads and is carried out at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

from fetchml.core.bookings.booking import Booking
from fetchml.core.gpus.allocator import Gpu, GpuMemory, Obstacle, Utilisation
from fetchml.core.model import Actor, AttemptEnd, EventKind, Kept, RanWith, Status, Task
from fetchml.core.notification_outbox import Delivery
from fetchml.core.requests.update import TaskUpdate
from fetchml.core.sweeps.progress import Failures


class Submitted(msgspec.Struct, frozen=True):
    """New queued tasks, already validated."""

    now: int
    tasks: list[Task]
    footprints: Sequence[int] = ()
    """Bytes of memory that each task takes (`core.footprint`); empty if not measured yet."""
    ended: Mapping[str, Status] = {}  # never changed
    """Outcomes of the ended tasks that they start after. All others that they name are live."""
    replaced: Sequence[Task] = ()
    """Failed tasks of a sweep in the version to record with these, which take their places."""
    failures: Mapping[str, Failures] = {}  # never changed
    """Failed tasks, those of `replaced` included, of sweeps without live tasks: by the id of each
    that these tasks start after or belong to. None for a new sweep."""


class CancelRequested(msgspec.Struct, frozen=True):
    """A user or the server cancels a task. A repetition changes nothing."""

    now: int
    task_id: str
    by: Actor

    @property
    def task_ids(self) -> tuple[str]:
        return (self.task_id,)


class InterruptRequested(msgspec.Struct, frozen=True):
    """A user has a running attempt end as if its host were lost. Changes nothing unless the task
    runs and is not being stopped."""

    now: int
    task_id: str
    by: str
    """The user's name."""


class ManyCancelRequested(msgspec.Struct, frozen=True):
    """A user cancels several tasks. Those that have ended stay as they are."""

    now: int
    task_ids: Sequence[str]
    by: Actor


class UpdateRequested(msgspec.Struct, frozen=True):
    """A user changes fields of a live task, already validated (`core.requests.update`). Changes
    nothing if the task's state no longer allows it."""

    now: int
    task_id: str
    update: TaskUpdate
    prestage_again: bool = False
    """Discard a prestaged attempt, whose shim is of a release that reads no changed limit."""


class Progressed(msgspec.Struct, frozen=True):
    """An attempt in PREPARING, prestaged or not, began its next step."""

    now: int
    task_id: str
    attempt: int
    text: str
    """The step, for users."""


class Prestaged(msgspec.Struct, frozen=True):
    """A prestaged attempt is ready and waits at its gate."""

    now: int
    task_id: str
    attempt: int


class Started(msgspec.Struct, frozen=True):
    """The attempt's command was started."""

    now: int
    task_id: str
    attempt: int
    started_at: int
    worker_id: str | None = None
    """The node that a cluster started it on; `None` on one host, or if the node is not known."""
    gpu_uuids: tuple[str, ...] = ()
    """The GPUs that a cluster gave it, as far as known. The task may have forged them."""
    ran_with: RanWith | None = None
    """`None` if an older release prepared the attempt."""


class LostDeclared(msgspec.Struct, frozen=True):
    """An admin declares a running attempt on a silent node lost
    (`core.scheduling.lost_attempts`)."""

    now: int
    task_id: str
    attempt: int
    by: str
    """The admin's name."""


class NeverStarted(msgspec.Struct, frozen=True):
    """The attempt is over; its command was not started and never will be."""

    now: int
    task_id: str
    attempt: int
    error: str | None = None
    """The error of the preparation; `None` after StopAttempt or DiscardAttempt."""
    permanent: bool = False
    """A retry would fail the same way."""


class Ended(msgspec.Struct, frozen=True):
    """No process of the attempt is left."""

    now: int
    task_id: str
    attempt: int
    end: AttemptEnd
    worker_id: str | None = None
    """As of Started: the attempt may have started and ended between two looks."""
    gpu_uuids: tuple[str, ...] = ()


class Collected(msgspec.Struct, frozen=True):
    """The attempt's outputs are kept, or can't be."""

    now: int
    task_id: str
    attempt: int
    error: str | None = None
    """The reason why the outputs could not be kept; `None` if they are."""
    kept: Kept | None = None
    """Disk use of the attempt's outputs and log; `None` if it could not be measured."""


class GpusSeen(msgspec.Struct, frozen=True):
    """The whole inventory of GPUs as it is now. The first one follows Recovered."""

    now: int
    gpus: list[Gpu]


class GpuChecked(msgspec.Struct, frozen=True):
    """The result of CheckGpus for one GPU."""

    now: int
    uuid: str
    fault: Obstacle | None = None
    """The reason why nothing may be started on it; `None` if nothing of its last task is left."""


class GpuFailed(msgspec.Struct, frozen=True):
    """GPUs of an ended attempt reported errors while it ran."""

    now: int
    task_id: str
    attempt: int
    gpus: tuple[str, ...]
    """UUIDs."""
    why: str
    """For users."""


class GpuDrained(msgspec.Struct, frozen=True):
    """A GPU is drained or undrained. Tasks that hold it continue."""

    now: int
    uuid: str
    by: str | None
    """The user or rule that drained it; `None` if it is in use again."""


class GpusUsed(msgspec.Struct, frozen=True):
    """Use of GPUs since the last such event. One that could not be read is missing."""

    now: int
    gpus: Sequence[Utilisation] = ()
    tasks: Mapping[str, int] = {}
    """On a cluster: the highest use of each task's GPUs, in percent, by the task's id, as its own
    node reported it."""


class GpuMemoryUsed(msgspec.Struct, frozen=True):
    """The memory of GPUs that tasks use, by one reading."""

    now: int
    gpus: Sequence[GpuMemory]


class GpuMemoryExhausted(msgspec.Struct, frozen=True):
    """An attempt has ended and reported that it found too little GPU memory."""

    now: int
    task_id: str
    attempt: int


class BookingsChanged(msgspec.Struct, frozen=True):
    """All bookings as they are now."""

    now: int
    bookings: Sequence[Booking]


class LauncherChanged(msgspec.Struct, frozen=True):
    """The launcher became available or unavailable. While it is not, nothing is started."""

    now: int
    available: bool


class TimePassed(msgspec.Struct, frozen=True):
    """A timer for delayed retries fired."""

    now: int
    due: int = 0
    """Delays until this time are over as measured by a timer, even if `now` is earlier because the
    wall clock was set back."""


class Recovered(msgspec.Struct, frozen=True):
    """The server is up again, with the live tasks that the state was restored from."""

    now: int


class DrainRequested(msgspec.Struct, frozen=True):
    """The server is stopping: no more tasks start, and running tasks continue."""

    now: int


GpuEvent = (
    GpusSeen
    | GpuChecked
    | GpuFailed
    | GpuDrained
    | GpusUsed
    | GpuMemoryUsed
    | GpuMemoryExhausted
    | BookingsChanged
)

Event = (
    Submitted
    | CancelRequested
    | InterruptRequested
    | ManyCancelRequested
    | UpdateRequested
    | Progressed
    | Prestaged
    | Started
    | LostDeclared
    | NeverStarted
    | Ended
    | Collected
    | GpuEvent
    | LauncherChanged
    | TimePassed
    | Recovered
    | DrainRequested
)


class Manner(StrEnum):
    """Ways to end an attempt, from the mildest to the hardest."""

    WARN = "warn"
    """SIGUSR1 at once, SIGTERM `warn_seconds` later, then the grace period and SIGKILL."""
    TERMINATE = "terminate"
    """SIGTERM at once, then the grace period and SIGKILL."""
    KILL = "kill"
    """SIGKILL at once, as if the host were lost."""


@dataclass(slots=True, frozen=True)
class RunAttempt:
    """Take the task's current attempt as far as it goes, from wherever it is: a new one from the
    start, after a restart from what is found. A prestaged one waits at its gate for OpenGate or
    DiscardAttempt."""

    task: Task


@dataclass(slots=True, frozen=True)
class StopAttempt:
    """Stop the task's current attempt. If its command has not been started, never start it. A
    repetition may be harder than the one before."""

    task_id: str
    manner: Manner = Manner.TERMINATE


@dataclass(slots=True, frozen=True)
class LimitAttempt:
    """Give the task's current attempt another time limit, from the start of its command on."""

    task_id: str
    timeout_seconds: int
    """0: no limit."""


@dataclass(slots=True, frozen=True)
class OpenGate:
    """The prestaged attempt has its resources: start its command as soon as it is ready."""

    task_id: str


@dataclass(slots=True, frozen=True)
class DiscardAttempt:
    """Remove the prestaged attempt and report NeverStarted without an error."""

    task_id: str


@dataclass(slots=True, frozen=True)
class CheckGpus:
    """Look for processes and memory that the last task left on these GPUs; report GpuChecked for
    each."""

    uuids: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Deliver:
    """Send these messages of the outbox. Made of the decision's notices while it is recorded."""

    deliveries: tuple[Delivery, ...]


Effect = RunAttempt | StopAttempt | LimitAttempt | OpenGate | DiscardAttempt | CheckGpus | Deliver


class Notice(NamedTuple):
    """A change of a task that users may be notified of.

    `notifications.notices` makes rows of the outbox of it, for the addresses that ask for such
    events, in the commit of the decision.
    """

    kind: EventKind
    task: Task
    """As the event left it."""
    ends_sweep: bool = False
    """It was the last live task of its sweep."""


class Decision(msgspec.Struct):
    """The changes and effects of an event."""

    changes: list[Task] = msgspec.field(default_factory=list)
    """New versions of tasks, in order; one task may change more than once."""
    effects: list[Effect] = msgspec.field(default_factory=list)
    """In the order in which they are carried out."""
    notices: list[Notice] = msgspec.field(default_factory=list)
    """Events that users may be notified of, in order."""
    next_due: int | None = None
    """When `TimePassed` is to be reported next, for delayed tasks; `None` if none is delayed."""
