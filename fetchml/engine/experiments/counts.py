"""Counts of each experiment's tasks by user and status, kept up to date with every change."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from fetchml.core.model import ENDED, Change, Status, Task
from fetchml.ports.store import StoredState


class ExperimentCounts:
    """Used from one event loop. Deleted tasks do not count."""

    def __init__(self, restored: StoredState, exists: Callable[[str], bool]) -> None:
        """`exists`: whether there is an experiment with this id. Tasks keep the id of one that was
        deleted, and then count nowhere."""
        self._exists = exists
        self._counts: dict[str, dict[str, Counter[Status]]] = {}
        """By experiment and user: on a private server only their own are shown to a user."""
        self._live: dict[str, Status] = {}
        """The status of each live task that is in an experiment, by id."""
        for (experiment_id, user, status), number in restored.experiment_counts.items():
            if status in ENDED and exists(experiment_id):
                self._of(experiment_id, user)[status] = number
        for task in restored.live:
            self._changed(task)

    def committed(self, changes: Sequence[Change]) -> None:
        """Take over changes that are durable, in order."""
        for change in changes:
            if change.task.spec.experiment_id is not None and not change.is_after_end:
                self._changed(change.task)

    def of(self, experiment_id: str, user: str | None) -> Mapping[Status, int]:
        """The number of tasks by the status that clients see. `user`: count only this user's
        tasks; `None`: all."""
        by_user = self._counts.get(experiment_id, {})
        if user is not None:
            return by_user.get(user, {})
        total = Counter[Status]()
        for counts in by_user.values():
            total.update(counts)
        return total

    def forget(self, experiment_id: str) -> None:
        """Drop the counts of an experiment that was deleted."""
        self._counts.pop(experiment_id, None)

    def _changed(self, task: Task) -> None:
        before = self._live.pop(task.id, None)
        experiment_id = task.spec.experiment_id
        if experiment_id is None or not self._exists(experiment_id):
            return
        counts = self._of(experiment_id, task.user)
        if task.hidden:
            counts[task.status] -= 1
            return
        if before is not None:
            counts[before] -= 1
        counts[task.shown_status] += 1
        if task.status not in ENDED:
            self._live[task.id] = task.shown_status

    def _of(self, experiment_id: str, user: str) -> Counter[Status]:
        return self._counts.setdefault(experiment_id, {}).setdefault(user, Counter())
