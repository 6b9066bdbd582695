"""Tasks as one caller may see and change them."""

from fetchml.core import permissions
from fetchml.core.model import Principal, Task
from fetchml.engine.task_lookup import TaskLookup, no_task
from fetchml.errors import Forbidden


class VisibleTasks:
    def __init__(self, tasks: TaskLookup) -> None:
        self._tasks = tasks

    async def get(self, who: Principal, task_id: str) -> Task:
        """Return a task, services and deleted tasks excluded. Raises NotFound."""
        task = await self._tasks.find_seen(who, task_id)
        if task is None or task.hidden or task.service:
            raise no_task(task_id)
        return task

    async def to_change(self, who: Principal, task_id: str) -> Task:
        """Return a task that the caller may change. Raises NotFound, Forbidden."""
        task = await self.get(who, task_id)
        if not permissions.may_end(who, task):
            raise Forbidden("Only the task's owner or an admin may change, end or delete it")
        return task
