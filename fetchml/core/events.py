"""What happens to the core (events), and what it wants done (effects).

Every event carries `now`, milliseconds since the epoch. An effect is carried out only after the
changes of the same decision are durable.
"""

from dataclasses import dataclass, field

import msgspec

from fetchml.core.model import AttemptEnd, Task


class Submitted(msgspec.Struct, frozen=True):
    """New queued tasks, accepted by `submission`."""

    now: int
    tasks: list[Task]


class CancelAsked(msgspec.Struct, frozen=True):
    now: int
    task_id: str
    by: str


class Progressed(msgspec.Struct, frozen=True):
    """`preparing` has something new to say."""

    now: int
    task_id: str
    attempt: int
    text: str


class Started(msgspec.Struct, frozen=True):
    """The attempt's command runs, since `started_at`."""

    now: int
    task_id: str
    attempt: int
    started_at: int


class NeverStarted(msgspec.Struct, frozen=True):
    """The attempt is over and its command was not started, and never will be.

    `error` is None when it was given up because of a wish to cancel.
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


class LauncherChanged(msgspec.Struct, frozen=True):
    now: int
    available: bool


class TimePassed(msgspec.Struct, frozen=True):
    now: int


class Recovered(msgspec.Struct, frozen=True):
    """The server is up again with the live tasks that the state was made from."""

    now: int


class DrainAsked(msgspec.Struct, frozen=True):
    """Start nothing more; what runs goes on."""

    now: int


Event = (
    Submitted
    | CancelAsked
    | Progressed
    | Started
    | NeverStarted
    | Ended
    | Collected
    | LauncherChanged
    | TimePassed
    | Recovered
    | DrainAsked
)


@dataclass(slots=True, frozen=True)
class RunAttempt:
    """Take the task's current attempt as far as it goes, from wherever it is."""

    task: Task


@dataclass(slots=True, frozen=True)
class StopAttempt:
    """End the task's current attempt: SIGTERM, grace, SIGKILL; or never start it."""

    task_id: str


Effect = RunAttempt | StopAttempt


@dataclass(slots=True)
class Decision:
    changes: list[Task] = field(default_factory=list)
    """New versions of tasks, in order; one task may change more than once."""
    effects: list[Effect] = field(default_factory=list)
