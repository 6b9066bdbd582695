"""The sub-states of a waiting task. Clients see all of them as `queued`.

    Queued ──prestage──▶ Prestaging ──at its gate──▶ AtGate
       ▲                  │      │                    │  │
       │               discard   └─────────┐    discard  │
       │                  ▼                │          │  │
       └──never started── Discarding ◀─────┼──────────┘  │
                                           ▼             ▼
                                     it has its resources: no longer waiting

On a cluster a task is handed over as soon as the limits on pending tasks allow it:

    Queued ──handed over──▶ HandedOver ──started by the cluster──▶ it is RUNNING
       ▲                     │      │
       │                   cancel   └─ended before it started─▶ FAILED, or Queued for a retry
       │                     ▼
       └──never started── Discarding

The cluster decides when and where it starts. Such a task is stored as a prestaged one.

A queued task may also be held back, whatever is free. It is in no queue then:

    OnHold ──released──▶ Blocked ──conditions hold──▶ Postponed ──its time has come──▶ Queued
                            └──a condition can't hold any more──▶ FAILED

A held task fails likewise. A task skips what does not apply to it, and one that was prestaged is
Discarding before it is OnHold or Postponed. All of this follows from the task's request, other
tasks and the time, so none of it is stored either.

A prestaged task holds nothing: its GPUs are those that it waits for. The server learns of a task's
gate only from the attempt itself, so none of this is stored but `Task.prestaged`. After a restart
a prestaged task is Prestaging (Discarding if it was cancelled) until its attempt reports again.
"""

from msgspec.structs import replace

from fetchml.core.model import Task, Value

MAX_DISCARDS = 2
"""Prestaged attempts of one task that may be discarded; then it is prestaged no more. Otherwise a
stream of urgent tasks would begin its attempt again and again."""


class Queued(Value, frozen=True):
    """Nothing is done for it yet."""

    protected: bool = False
    """It was discarded after others had passed it for `reserve_after`. No other prestaged task
    starts before it until it has its resources."""


class Prestaging(Value, frozen=True):
    """Its attempt is being prepared, up to the closed gate of its shim."""

    since: int
    """When it was prestaged, or when the server was restarted if that is later."""
    protected: bool = False


class AtGate(Value, frozen=True):
    """Its attempt is ready and waits at its gate: it starts as soon as it has its resources."""

    since: int
    """As of Prestaging."""
    protected: bool = False


class HandedOver(Value, frozen=True):
    """Its attempt is submitted to the cluster, or is about to be, and the cluster has not started
    it."""

    since: int
    """As of Prestaging."""
    protected: bool = False


class Discarding(Value, frozen=True):
    """Its attempt is being removed, since its place went to another or since it was cancelled. It
    can't start before that is done."""

    protected: bool = False


class OnHold(Value, frozen=True):
    """A user holds it. Nothing is done for it until it is released."""

    protected: bool = False
    """See Queued. It is not kept through a hold."""


class Blocked(Value, frozen=True):
    """The task waits for other tasks (`dependencies.blocked`)."""

    protected: bool = False
    """See OnHold."""


class Postponed(Value, frozen=True):
    """The task may not start before a time."""

    until: int
    """Milliseconds since the epoch (UTC)."""
    protected: bool = False
    """See OnHold."""


HeldBack = OnHold | Blocked | Postponed
"""The variants of a task that may not start now, even with free resources."""

Waiting = Queued | Prestaging | AtGate | HandedOver | Discarding | HeldBack

PRESTAGED = (Prestaging, AtGate)
"""The variants whose attempt may still start."""


def begun(task: Task, before: Waiting, now: int, *, on_cluster: bool = False) -> Waiting:
    """The sub-state of a task that begins to wait. `before`: the last one of this wait."""
    if not task.prestaged:
        return Queued(before.protected)
    if task.cancel is not None:
        return Discarding(before.protected)
    kind = HandedOver if on_cluster else Prestaging
    return kind(now, before.protected)


def held_back(task: Task, now: int, *, blocked: bool = False) -> HeldBack | None:
    """Return the reason why a task may not start now, apart from free resources; `None` if it may.
    `blocked`: whether conditions of it are open, as they are of no task that was ever prestaged."""
    if task.spec.hold:
        return OnHold()
    if blocked:
        return Blocked()
    if (task.spec.start_after or 0) > now:
        return Postponed(task.spec.start_after or 0)
    return None


def at_gate(before: Waiting) -> Waiting:
    """News of the gate means nothing for an attempt that is being discarded."""
    return AtGate(before.since, before.protected) if isinstance(before, Prestaging) else before


def restarted(before: Waiting, now: int) -> Waiting:
    """Nobody has passed a task while no server ran."""
    return replace(before, since=now) if isinstance(before, PRESTAGED) else before


def may_be_prestaged(task: Task) -> bool:
    """A task with secrets gets the values of the moment when it has its resources."""
    return task.discarded < MAX_DISCARDS and not task.spec.secrets
