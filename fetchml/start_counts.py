"""How tasks came to start: made ready ahead while they waited, or not. For the metrics."""

from collections import Counter
from enum import StrEnum

from fetchml.core.model import Change, Status

WAITED_MS = 1_000
"""A task that waited for longer could have been made ready meanwhile."""


class Start(StrEnum):
    AHEAD = "ahead"
    """Made ready while it waited."""
    AT_ONCE = "at_once"
    """It did not wait: there was nothing to do ahead."""
    WAITED = "waited"
    """It waited, and could not be made ready meanwhile, or was not among the next."""


class StartCounts:
    """Counts attempts that have been given what they need, and what was made ready for nothing."""

    def __init__(self) -> None:
        self.starts: Counter[Start] = Counter()
        self.thrown_away = 0
        self._preparing: dict[str, bool] = {}
        """By task: it is ahead."""

    def add(self, change: Change) -> None:
        """Every change that is durable, in order."""
        task = change.task
        if task.status is Status.PREPARING:
            before = self._preparing.get(task.id)
            self._preparing[task.id] = task.ahead
            if task.ahead or before is False:
                return
            if before is True:
                self.starts[Start.AHEAD] += 1
                return
            ready_at = max(task.created_at, task.not_before)
            waited = (task.given_at or change.at) - ready_at > WAITED_MS
            self.starts[Start.WAITED if waited else Start.AT_ONCE] += 1
        elif self._preparing.pop(task.id, None) is True:
            self.thrown_away += 1
