"""Changes of tasks that users may be notified of.

Every decision lists its notices. `notifications.notices` makes rows of the outbox of them, for the
addresses that ask for such events, in the commit of the decision.
"""

from typing import TYPE_CHECKING, NamedTuple

from fetchml.core.model import ENDED, Status, Task
from fetchml.core.notifications.targets import EventKind

if TYPE_CHECKING:
    from fetchml.core.events import Decision
    from fetchml.core.state import State


class Notice(NamedTuple):
    kind: EventKind
    task: Task
    """As the event left it."""
    ends_sweep: bool = False
    """It was the last live task of its sweep."""


def raise_notice(decision: "Decision", task: Task, kind: EventKind) -> None:
    """Note that something happened to a task, for those who asked for that kind of event.

    The decision must change the task too, because notices become durable with changes. A service
    has none.
    """
    if not task.service:
        decision.notices.append(Notice(kind, task))


def of_move(state: "State", decision: "Decision", before: Task, after: Task) -> None:
    """Raise the notice of a change of status, if it is one that has a kind.

    The tasks of a sweep raise none of their own when they end: the last one is the sweep's.
    """
    if after.service:
        return
    if after.status is Status.RUNNING:
        raise_notice(decision, after, EventKind.STARTED)
    elif after.status is Status.QUEUED:
        if after.preempted > before.preempted:
            raise_notice(decision, after, EventKind.PREEMPTED)
    elif after.status in ENDED:
        kind = EventKind.COMPLETED if after.status is Status.COMPLETED else EventKind.FAILED
        if (member := after.spec.sweep) is None:
            raise_notice(decision, after, kind)
        elif state.progress.of(member.id).live == 1:  # It is counted until the end is recorded.
            decision.notices.append(Notice(kind, after, ends_sweep=True))
