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

from heapq import heapify, heappop, heappush, nsmallest

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


def begun(task: Task, before: Waiting, now: int, *, handed_over: bool = False) -> Waiting:
    """The sub-state of a task that begins to wait. `before`: the last one of this wait."""
    if not task.prestaged:
        return Queued(before.protected)
    if task.cancel is not None:
        return Discarding(before.protected)
    kind = HandedOver if handed_over else Prestaging
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
    """No task was overtaken while no server ran."""
    return replace(before, since=now) if isinstance(before, PRESTAGED) else before


def may_be_prestaged(task: Task) -> bool:
    """A task with secrets gets the values of the moment when it has its resources."""
    return task.discarded < MAX_DISCARDS and not task.spec.secrets


MOST_DUE_AT_ONCE = 100
"""Postponed tasks that one decision puts into the queue; the next decision follows at once."""


class HeldBackTasks:
    """Waiting tasks that may not start now, even with free resources: held ones, and those with
    a later earliest start. The scheduler does not consider them."""

    def __init__(self) -> None:
        self._states: dict[str, HeldBack] = {}
        self._user_of: dict[str, str] = {}
        self.by_user: dict[str, int] = {}
        """Number of each user's tasks; no number is 0."""
        self.by_kind: dict[type[HeldBack], int] = {}
        """Number of tasks by the variant of their state."""
        self.times: list[tuple[int, str]] = []
        """A heap of the times of postponed tasks. Removed tasks may still be in it, and a task that
        was postponed again may be in it more than once."""

    def copy(self) -> "HeldBackTasks":
        """Return a copy that does not change with this one."""
        other = HeldBackTasks()
        other._states = dict(self._states)
        other._user_of = dict(self._user_of)
        other.by_user = dict(self.by_user)
        other.by_kind = dict(self.by_kind)
        other.times = list(self.times)
        return other

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._states

    def get(self, task_id: str) -> HeldBack | None:
        return self._states.get(task_id)

    def add(self, task: Task, state: HeldBack) -> None:
        self._states[task.id] = state
        self._user_of[task.id] = task.user
        self.by_user[task.user] = self.by_user.get(task.user, 0) + 1
        self.by_kind[type(state)] = self.by_kind.get(type(state), 0) + 1
        if isinstance(state, Postponed):
            heappush(self.times, (state.until, task.id))
            if len(self.times) > 2 * len(self._states) + 64:
                self.times = [entry for entry in set(self.times) if self._is_current(*entry)]
                heapify(self.times)

    def remove(self, task_id: str) -> None:
        self.by_kind[type(self._states.pop(task_id))] -= 1
        user = self._user_of.pop(task_id)
        self.by_user[user] -= 1
        if not self.by_user[user]:
            del self.by_user[user]

    def next_due(self) -> int | None:
        """When the next postponed task may start; `None` if none is postponed."""
        while self.times and not self._is_current(*self.times[0]):
            heappop(self.times)
        return self.times[0][0] if self.times else None

    def due(self, now: int) -> list[str]:
        """Ids of postponed tasks whose time has come, at most MOST_DUE_AT_ONCE."""
        due_ids: dict[str, None] = {}
        while (
            len(due_ids) < MOST_DUE_AT_ONCE and (due := self.next_due()) is not None and due <= now
        ):
            due_ids[heappop(self.times)[1]] = None
        return list(due_ids)

    def first(self, count: int, user: str | None = None) -> list[str]:
        """Ids of the first tasks: by their times, then by age. Of one user, or of all (`None`)."""
        own = (
            (state.until if isinstance(state, Postponed) else 1 << 63, task_id)
            for task_id, state in self._states.items()
            if user in (None, self._user_of[task_id])
        )
        return [task_id for _, task_id in nsmallest(count, own)]

    def _is_current(self, until: int, task_id: str) -> bool:
        state = self._states.get(task_id)
        return isinstance(state, Postponed) and state.until == until
