"""When an attempt that a cluster has lost sight of counts as lost.

Its node is silent, or the controller has forgotten its job, while a shim has claimed it: its
processes may still run. So it is not started a second time, until its end is recorded or somebody
takes the risk: the server's owner by a time limit, an admin by `declare-lost`, or the user, who
cancels it. With a lease there is no risk: an attempt that can't renew it is ended on its node.
"""

from fetchml.core.model import Status, Task

LEASES_UNTIL_LOST = 2
"""An attempt counts as lost when it has not renewed its lease for as many times its length. After
one its shim ends it, by the clock of its node; the rest is for that."""
LEASE_LOST = (
    "it could not renew its lease on the shared folder, so its node ended it: another attempt may "
    "have been started"
)


def counts_as_lost(silent_seconds: float, lost_after: int, *, given_up: bool) -> bool:
    """Return whether an attempt counts as lost. `lost_after`: the owner's limit in seconds; 0 for
    none. `given_up`: a user has cancelled the task, or an admin has declared it lost."""
    return given_up or (lost_after > 0 and silent_seconds >= lost_after)


def lease_is_over(unrenewed_seconds: float, lease_seconds: int) -> bool:
    """Whether no process of an attempt is left, as its shim has promised. `unrenewed_seconds`: how
    long the server, which can read the shared folder, has seen no renewal."""
    return lease_seconds > 0 and unrenewed_seconds >= LEASES_UNTIL_LOST * lease_seconds


def fault(task: Task, trouble: str | None) -> str | None:
    """Return why a task can't be declared lost; `None` if it can. `trouble`: a problem of the
    running attempt that the cluster reports; `None` if there is none, or no cluster."""
    if task.status is not Status.RUNNING:
        return f"The task is {task.shown_status}: only a running task can be declared lost"
    if trouble is None:
        return "The task's node is not silent: wait for the task, or cancel it"
    return None
