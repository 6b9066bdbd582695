"""When an attempt that a cluster has lost sight of counts as lost.

Its node is silent, or the controller has forgotten its job, while a shim has claimed it: its
processes may still run. So it is not started a second time, until its end is recorded or somebody
takes the risk: the server's owner by a time limit, an admin by `declare-lost`, or the user, who
cancels it.
"""

from fetchml.core.model import Status, Task


def counts_as_lost(silent_seconds: float, lost_after: int, *, given_up: bool) -> bool:
    """`lost_after`: the owner's limit in seconds, 0: none. `given_up`: a user or an admin has
    decided that it is to end."""
    return given_up or (lost_after > 0 and silent_seconds >= lost_after)


def fault(task: Task, trouble: str | None) -> str | None:
    """Why a task can't be declared lost; `None` if it can. `trouble`: what the cluster reports
    about the running attempt; `None` if nothing is wrong with it, or if there is no cluster."""
    if task.status is not Status.RUNNING:
        return f"It does not run, it is {task.shown_status}: only a running task can be lost"
    if trouble is None:
        return "Its node is not silent: cancel it to end it, or wait for its end"
    return None
