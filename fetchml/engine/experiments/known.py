"""The records of all experiments, with the numbers of their tasks."""

from typing import NamedTuple

from fetchml.core.requests.experiment import Experiment
from fetchml.engine.experiments.counts import ExperimentCounts
from fetchml.ports.store import StoredState
from fetchml.records import Documents, RecordSet

KIND = "experiment"


class KnownExperiments(NamedTuple):
    """All experiments, oldest first, as the order of their ids is, and the numbers of their
    tasks."""

    records: RecordSet[Experiment]
    counts: ExperimentCounts

    @classmethod
    async def load(cls, store: Documents, restored: StoredState) -> "KnownExperiments":
        """Read them from the open store."""
        records = RecordSet(store, KIND, Experiment, lambda each: each.id)
        await records.load()
        return cls(records, ExperimentCounts(restored, records.__contains__))
