"""The meaning of the contract's DELETE of a task (reading 3)."""

from enum import Enum, auto

from fetchml.core.model import ENDED, Task

REPEAT_MS = 60_000
"""Time in which a repeated DELETE of a task that it cancelled does not delete the record."""


class Deletion(Enum):
    CANCEL = auto()
    """End a live task."""
    HIDE = auto()
    """Remove an ended task from reads."""
    NOTHING = auto()
    """A repetition of the DELETE that cancelled the task."""


def meaning(task: Task, now: int) -> Deletion:
    if task.status not in ENDED:
        return Deletion.CANCEL
    if task.cancel is not None and now - task.cancel.at < REPEAT_MS:
        return Deletion.NOTHING
    return Deletion.HIDE
