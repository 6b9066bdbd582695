"""Answers about sweeps. Transports convert them to JSON and messages."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fetchml.core.model import Status, Task
from fetchml.core.sweeps.model import Sweep


class SweepView(NamedTuple):
    """A sweep with the state of its tasks."""

    sweep: Sweep
    counts: Mapping[Status, int]
    """Tasks by the status that clients see."""
    tasks: Sequence[Task] = ()
    """The first tasks of a sweep that was only validated."""

    @property
    def deleted(self) -> int:
        return max(0, self.sweep.total - sum(self.counts.values()))


class SweepPage(NamedTuple):
    sweeps: Sequence[SweepView]
    """Newest first."""
    total: int
    """All sweeps that match and that the caller may see."""


class SweepTotals(NamedTuple):
    """Of all users together."""

    sweeps: int
    open: int
    """Sweeps with tasks that have not ended."""
    tasks: Mapping[Status, int]
    """Tasks of all sweeps by the status that clients see."""


class SweepChange(NamedTuple):
    """A sweep after its tasks were cancelled or submitted again."""

    sweep: SweepView
    tasks: int
    """Number of the tasks that were changed."""


class SweepResult(NamedTuple):
    """A completed task of a sweep."""

    task: Task
    value: float
    """Of the metric that the caller asked for."""
    metrics: Mapping[str, float]


class SweepResults(NamedTuple):
    results: Sequence[SweepResult]
    """The best first."""
    total: int
    """Completed tasks that have the metric."""
    metric_names: Sequence[str]
    """Names of the metrics that the completed tasks report."""
