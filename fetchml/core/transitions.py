"""Which status may follow which (DESIGN's invariant I4).

    queued → preparing → running → collecting → completed | failed
    any live state → failed                       (cancelled, or it can't be run)
    preparing | collecting → queued               (a retry; it made way; it was made ready ahead
                                                   for a place that it did not get)

Ended is final.
"""

from fetchml.core.model import Status, Task

ALLOWED: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.PREPARING, Status.FAILED}),
    Status.PREPARING: frozenset({Status.RUNNING, Status.QUEUED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.COLLECTING, Status.FAILED}),
    Status.COLLECTING: frozenset({Status.COMPLETED, Status.QUEUED, Status.FAILED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
}


class InvalidTransition(Exception):
    """A change that the table does not know: a defect in the core, told with the task's story."""

    def __init__(self, task: Task, to: Status) -> None:
        super().__init__(
            f"task {task.id} can't go from {task.status} to {to}"
            f" (attempt {task.attempt}, retries {task.retry_count}, cancel {task.cancel})"
        )


def require(task: Task, to: Status) -> None:
    """Raises InvalidTransition."""
    if to not in ALLOWED[task.status]:
        raise InvalidTransition(task, to)
