"""How often what was made ready ahead may be thrown away."""

from fetchml.core.model import Task

MOST_DISCARDED = 2
"""Attempts of one task that are made ready ahead and thrown away."""


def may_be_ahead(task: Task) -> bool:
    """Whether the task may be made ready before it has its resources."""
    return task.discarded < MOST_DISCARDED
