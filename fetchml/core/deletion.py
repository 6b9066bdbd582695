"""What the contract's DELETE of a task means (reading 3)."""

from enum import Enum, auto

from fetchml.core.model import ENDED, Task

REPEAT_MS = 60_000
"""A client that repeats the DELETE of a live task must not delete the record by accident."""


class Deletion(Enum):
    CANCEL = auto()
    HIDE = auto()
    NOTHING = auto()


def meaning(task: Task, now: int) -> Deletion:
    if task.status not in ENDED:
        return Deletion.CANCEL
    if task.cancel is not None and now - task.cancel.at < REPEAT_MS:
        return Deletion.NOTHING
    return Deletion.HIDE
