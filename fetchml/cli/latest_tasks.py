"""Tasks that a watch keeps up to date."""

from collections.abc import Iterable

from fetchml.client import Task, WatchTasksResponse, ended


class LatestTasks:
    """All live tasks, and those that ended last."""

    def __init__(self, ended_shown: int) -> None:
        self._ended_shown = ended_shown
        self.by_id: dict[str, Task] = {}
        """The last change last."""

    def replace(self, tasks: Iterable[Task]) -> None:
        """Replace all tasks, given newest first, after changes were missed."""
        self.by_id = {task.id: task for task in reversed(list(tasks))}

    def apply(self, update: WatchTasksResponse) -> None:
        if not update.HasField("task"):
            return
        self.by_id.pop(update.task.id, None)
        if update.type != WatchTasksResponse.task_deleted:
            self.by_id[update.task.id] = update.task
        over = [task_id for task_id, task in self.by_id.items() if ended(task)]
        for task_id in over[: -self._ended_shown]:
            del self.by_id[task_id]
