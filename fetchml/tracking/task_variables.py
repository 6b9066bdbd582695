"""What the command of a task needs to log to the server by the MLflow protocol."""

from fetchml.core.model import Task
from fetchml.core.requests.experiment import Experiment
from fetchml.ports.task_environment import TrackingAccess
from fetchml.records import RecordSet
from fetchml.tracking.task_tokens import TaskTokens

PATH = "/mlflow"


class TaskTracking:
    def __init__(
        self, url: str | None, tokens: TaskTokens, experiments: RecordSet[Experiment]
    ) -> None:
        """`url`: the server's, for tasks, without a final slash; `None` if they do not log to
        it."""
        self._url = url
        self._tokens = tokens
        self._experiments = experiments

    def of(self, task: Task) -> TrackingAccess | None:
        """Return the variables' values; `None` if the task gets none."""
        if self._url is None or task.service:
            return None
        experiment = self._experiments.get(task.spec.experiment_id or "")
        name = experiment.name if experiment is not None else None
        return TrackingAccess(self._url + PATH, self._tokens.issue(task.id), name)
