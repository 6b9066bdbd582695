"""Waiting times for a cluster that has no estimate of its own."""

from collections.abc import Iterable

from fetchml.core.model import Resources, Task
from fetchml.core.scheduling.estimate import Estimate
from fetchml.engine.run_times import TimesByKind

KEPT = 50
"""Newest waits of tasks with the same resources."""
KEPT_OF_ALL = 200
KINDS = 1_000
"""Kinds of tasks, by resources. The least recent one is forgotten first."""
_P50, _P90 = 5, 9
"""Of the ten quantiles."""


class WaitTimes:
    """Similar tasks are those of the same resources, else all."""

    def __init__(self, ended: Iterable[Task] = ()) -> None:
        """`ended`: the newest that are known, in any order."""
        self._times = TimesByKind[Resources](kept=KEPT, kept_of_all=KEPT_OF_ALL, kinds=KINDS)
        for task in sorted(ended, key=lambda task: task.allocated_at or 0):
            self.learn(task)

    def learn(self, task: Task) -> None:
        """From a task that the cluster has started; a retry waited for other reasons too."""
        if task.allocated_at is not None and task.attempt == 1:
            self._times.add((task.spec.resources,), max(0, task.allocated_at - task.created_at))

    def start_of(self, task: Task) -> Estimate | None:
        """Estimate the start of a waiting task; `None` if too few have started."""
        quantiles = self._times.quantiles((task.spec.resources,))
        if not quantiles:
            return None
        return Estimate(task.created_at + quantiles[_P50], task.created_at + quantiles[_P90])
