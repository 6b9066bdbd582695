"""How often what was made ready ahead may be thrown away."""

from fetchml.core.model import Task

MAX_DISCARDS = 2
"""Attempts of one task that are made ready ahead and thrown away."""


def may_be_prestaged(task: Task) -> bool:
    """Whether the task may be made ready before it has its resources."""
    return task.discarded < MAX_DISCARDS
