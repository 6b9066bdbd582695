"""What happens to the core (events), and what it wants done (effects).

Every event carries `now`, milliseconds since the epoch. An effect is carried out only after the
changes of the same decision are durable; a mere look (CheckGpus) at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from fetchml.core.gpus.model import Gpu, Obstacle
from fetchml.core.model import Actor, AttemptEnd, Kept, Task


class Submitted(msgspec.Struct, frozen=True):
    """New queued tasks, accepted by `submission`."""

    now: int
    tasks: list[Task]
    footprints: Sequence[int] = ()
    """Of the tasks' specifications, in bytes, if they were measured already; else empty."""


class CancelRequested(msgspec.Struct, frozen=True):
    now: int
    task_id: str
    by: Actor


class Progressed(msgspec.Struct, frozen=True):
    """`preparing` has something new to say."""

    now: int
    task_id: str
    attempt: int
    text: str


class Prestaged(msgspec.Struct, frozen=True):
    """The attempt was made ready ahead, and waits at its gate."""

    now: int
    task_id: str
    attempt: int


class Started(msgspec.Struct, frozen=True):
    """The attempt's command runs, since `started_at`."""

    now: int
    task_id: str
    attempt: int
    started_at: int


class NeverStarted(msgspec.Struct, frozen=True):
    """The attempt is over and its command was not started, and never will be.

    `error` is None when it was given up because the core wanted it: StopAttempt, DiscardAttempt.
    """

    now: int
    task_id: str
    attempt: int
    error: str | None = None
    permanent: bool = False


class Ended(msgspec.Struct, frozen=True):
    """No process of the attempt is left."""

    now: int
    task_id: str
    attempt: int
    end: AttemptEnd


class Collected(msgspec.Struct, frozen=True):
    """The attempt's outputs are kept; `error`: why they could not be."""

    now: int
    task_id: str
    attempt: int
    error: str | None = None
    kept: Kept | None = None
    """What the attempt's outputs and log take on the disk; None: that could not be measured."""


class GpusSeen(msgspec.Struct, frozen=True):
    """The whole inventory of GPUs, as it is now. The first comes after `Recovered`."""

    now: int
    gpus: list[Gpu]


class GpuChecked(msgspec.Struct, frozen=True):
    """What CheckGpus found. `fault`: why nothing may be started on it; None: nothing is left."""

    now: int
    uuid: str
    fault: Obstacle | None = None


class GpuFailed(msgspec.Struct, frozen=True):
    """GPUs of an attempt have told of errors of their own while it ran, which has ended."""

    now: int
    task_id: str
    attempt: int
    gpus: tuple[str, ...]
    why: str


class GpuDrained(msgspec.Struct, frozen=True):
    """The owner takes a GPU out of use (`by`), or gives it back (None). What runs goes on."""

    now: int
    uuid: str
    by: str | None


class LauncherChanged(msgspec.Struct, frozen=True):
    now: int
    available: bool


class TimePassed(msgspec.Struct, frozen=True):
    now: int
    due: int = 0
    """What is due until then has waited for its time, by a timer that does not depend on `now`: the
    wall clock may have been set back meanwhile."""


class Recovered(msgspec.Struct, frozen=True):
    """The server is up again with the live tasks that the state was made from."""

    now: int


class DrainRequested(msgspec.Struct, frozen=True):
    """Start nothing more; what runs goes on."""

    now: int


Event = (
    Submitted
    | CancelRequested
    | Progressed
    | Prestaged
    | Started
    | NeverStarted
    | Ended
    | Collected
    | GpusSeen
    | GpuChecked
    | GpuFailed
    | GpuDrained
    | LauncherChanged
    | TimePassed
    | Recovered
    | DrainRequested
)


@dataclass(slots=True, frozen=True)
class RunAttempt:
    """Take the task's current attempt as far as it goes, from wherever it is. If the task is
    `ahead`, up to its gate, until OpenGate or DiscardAttempt."""

    task: Task


@dataclass(slots=True, frozen=True)
class StopAttempt:
    """End the task's current attempt: SIGTERM, grace, SIGKILL; or never start it."""

    task_id: str


@dataclass(slots=True, frozen=True)
class OpenGate:
    """What was made ready ahead has its resources: let it start, now or as soon as it is ready."""

    task_id: str


@dataclass(slots=True, frozen=True)
class DiscardAttempt:
    """Throw away what was made ready ahead, and tell NeverStarted without an error."""

    task_id: str


@dataclass(slots=True, frozen=True)
class CheckGpus:
    """Their last holder is gone: tell of each with GpuChecked whether it is as it should be."""

    uuids: tuple[str, ...]


Effect = RunAttempt | StopAttempt | OpenGate | DiscardAttempt | CheckGpus


@dataclass(slots=True)
class Decision:
    changes: list[Task] = field(default_factory=list)
    """New versions of tasks, in order; one task may change more than once."""
    effects: list[Effect] = field(default_factory=list)
