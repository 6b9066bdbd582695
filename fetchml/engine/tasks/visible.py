"""Tasks as one caller may see and change them."""

from fetchml.core import permissions
from fetchml.core.model import Principal, Task
from fetchml.engine.task_lookup import TaskLookup, no_task
from fetchml.errors import Forbidden


class VisibleTasks:
    def __init__(self, tasks: TaskLookup, *, private: bool) -> None:
        """`private`: users see only their own tasks."""
        self._tasks = tasks
        self._private = private

    async def get(self, who: Principal, task_id: str) -> Task:
        """Return a task, services and deleted tasks excluded. Raises NotFound."""
        task = await self._tasks.get(task_id)
        seen = permissions.may_see(who, task, private=self._private)
        if task.hidden or task.service or not seen:
            raise no_task(task_id)
        return task

    async def to_change(self, who: Principal, task_id: str) -> Task:
        """Return a task that the caller may change. Raises NotFound, Forbidden."""
        task = await self.get(who, task_id)
        if not permissions.may_end(who, task):
            raise Forbidden("Only the task's owner or an admin may change, end or delete it")
        return task
