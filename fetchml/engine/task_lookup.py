"""Tasks by id: live and recent ones from memory, all others from the store."""

from fetchml.core.model import Task
from fetchml.engine.task_index import TaskIndex
from fetchml.errors import NotFound
from fetchml.ports.store import Store


class TaskLookup:
    def __init__(self, index: TaskIndex, store: Store) -> None:
        self._index = index
        self._store = store

    async def find(self, task_id: str) -> Task | None:
        """Return the newest durable version of any task, hidden ones and services included."""
        return (
            self._index.get(task_id)
            or self._index.services.get(task_id)
            or await self._store.get(task_id)
        )

    async def get(self, task_id: str) -> Task:
        """Like `find`. Raises NotFound."""
        task = await self.find(task_id)
        if task is None:
            raise no_task(task_id)
        return task


def no_task(task_id: str) -> NotFound:
    return NotFound(f"There is no task {task_id[:64]!r}")
