"""The tasks that may log with their tokens."""

from fetchml.core.model import ENDED, Task
from fetchml.engine.task_index import TaskIndex
from fetchml.tracking.task_tokens import TaskTokens


class LiveTasks:
    def __init__(self, tokens: TaskTokens, index: TaskIndex) -> None:
        self._tokens = tokens
        self._index = index

    def of_token(self, token: str) -> Task | None:
        """Return the task with this token; `None` if there is none, or it has ended."""
        task_id = self._tokens.task_of(token)
        return None if task_id is None else self.find(task_id)

    def find(self, task_id: str) -> Task | None:
        """Return a task; `None` if it has ended."""
        task = self._index.get(task_id) or self._index.services.get(task_id)
        return None if task is None or task.status in ENDED else task
