"""Which waiting tasks are handed over to a cluster, and when.

A cluster queues, places and limits tasks itself, so a task is handed over as soon as it is ready.
Only the number of tasks that the cluster holds pending is limited, for each user and in all: the
rest waits here, in the usual order.
"""

from fetchml.core.model import Task
from fetchml.core.scheduling.ready_queue import ShareLevel
from fetchml.core.scheduling.resources import ClusterLimits
from fetchml.core.state import State

PROGRESS = "handing it over to the cluster"
"""The first step of a task that is handed over."""
MOST_AT_ONCE = 500
"""Tasks of one decision; the next one follows with the next event."""


def next_tasks(state: State, cluster: ClusterLimits, level: ShareLevel) -> list[Task]:
    """The tasks to hand over now, in order."""
    chosen: list[Task] = []
    by_user = dict(state.user_handed_over)
    room = min(cluster.max_pending - len(state.handed_over), MOST_AT_ONCE)
    full = frozenset(user for user, n in by_user.items() if n >= cluster.user_max_pending)
    taken: set[str] = set()
    while len(chosen) < room:
        # Again from the start whenever a user's share is used up: that user's other tasks, which
        # may be very many, are not visited one by one.
        for queue, entry in state.queue.first_entries(level, without=full):
            if entry.task_id in taken:
                continue
            taken.add(entry.task_id)
            chosen.append(state.tasks[entry.task_id])
            by_user[queue.user] = by_user.get(queue.user, 0) + 1
            if by_user[queue.user] >= cluster.user_max_pending:
                full |= {queue.user}
                break
            if len(chosen) >= room:
                return chosen
        else:
            return chosen
    return chosen
