"""Which snapshots are in use: those that live tasks and experiments name."""

from fetchml.core.requests.experiment import Experiment
from fetchml.core.state import State
from fetchml.records import RecordSet


class SnapshotsInUse:
    def __init__(self, state: State, experiments: RecordSet[Experiment]) -> None:
        self._state = state
        self._experiments = experiments

    def __call__(self, user: str | None = None) -> frozenset[str]:
        """Return the ids that tasks and experiments of this user name; of all users if `None`."""
        by_tasks = (
            task.spec.snapshot_id
            for task in self._state.tasks.values()
            if task.spec.snapshot_id is not None and user in (None, task.user)
        )
        by_experiments = (
            each.commit_id
            for each in self._experiments
            if each.commit_id and user in (None, each.user)
        )
        return frozenset((*by_tasks, *by_experiments))
