"""Tasks by id: live and recent ones from memory, all others from the store."""

from fetchml.core import permissions
from fetchml.core.model import Principal, Task
from fetchml.engine.task_index import TaskIndex
from fetchml.errors import NotFound
from fetchml.ports.store import Store


class TaskLookup:
    """All tasks. What a caller names goes through `find_seen`, the rest through `find`."""

    def __init__(self, index: TaskIndex, store: Store, *, private: bool) -> None:
        """`private`: users see only their own tasks."""
        self._index = index
        self._store = store
        self._private = private

    async def find_seen(self, who: Principal, task_id: str) -> Task | None:
        """Return the newest durable version of a task, if the caller may see its user's tasks.

        A task that is hidden from the caller takes the way of an id that no task has, so that the
        time of the reply does not reveal it: it is looked for in memory and then in the store.
        """
        task = self._in_memory(task_id)
        if task is not None and permissions.may_see(who, task, private=self._private):
            return task
        sees_all = permissions.sees_all(who, private=self._private)
        return await self._store.get(task_id, None if sees_all else who.user)

    async def find(self, task_id: str) -> Task | None:
        """Return the newest durable version of any task, hidden ones and services included."""
        return self._in_memory(task_id) or await self._store.get(task_id)

    async def get(self, task_id: str) -> Task:
        """Like `find`. Raises NotFound."""
        task = await self.find(task_id)
        if task is None:
            raise no_task(task_id)
        return task

    def _in_memory(self, task_id: str) -> Task | None:
        return self._index.get(task_id) or self._index.services.get(task_id)


def no_task(task_id: str) -> NotFound:
    return NotFound(f"Task {task_id[:64]!r} not found")
