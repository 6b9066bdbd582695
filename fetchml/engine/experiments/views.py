"""Answers about experiments. Transports convert them to JSON and messages."""

from collections.abc import Mapping
from typing import NamedTuple

from fetchml.core.model import Status
from fetchml.core.requests.experiment import Experiment
from fetchml.engine.experiments.counts import ExperimentCounts


class ExperimentView(NamedTuple):
    """An experiment with the state of its tasks."""

    experiment: Experiment
    all_counts: ExperimentCounts
    user: str | None
    """The user whose tasks alone are visible to the caller; `None` if all are."""

    @property
    def counts(self) -> Mapping[Status, int]:
        """Tasks that the caller may see, by the status that clients see."""
        return self.all_counts.of(self.experiment.id, self.user)
