"""When an attempt that a cluster has lost sight of counts as lost.

Its node is silent, or the controller has forgotten its job, while a shim has claimed it: its
processes may still run. So it is not started a second time, until its end is recorded or somebody
takes the risk: the server's owner by a time limit, an admin by `declare-lost`, or the user, who
cancels it.
"""

from fetchml.core.model import Status, Task


def counts_as_lost(silent_seconds: float, lost_after: int, *, given_up: bool) -> bool:
    """Return whether an attempt counts as lost. `lost_after`: the owner's limit in seconds; 0 for
    none. `given_up`: a user has cancelled the task, or an admin has declared it lost."""
    return given_up or (lost_after > 0 and silent_seconds >= lost_after)


def fault(task: Task, trouble: str | None) -> str | None:
    """Return why a task can't be declared lost; `None` if it can. `trouble`: a problem of the
    running attempt that the cluster reports; `None` if there is none, or no cluster."""
    if task.status is not Status.RUNNING:
        return f"The task is {task.shown_status}: only a running task can be declared lost"
    if trouble is None:
        return "The task's node is not silent: wait for the task, or cancel it"
    return None
