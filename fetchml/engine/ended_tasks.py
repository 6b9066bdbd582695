"""Tasks that have ended: hidden for good, or kept without their outputs. Files go after records."""

import asyncio
from collections.abc import Callable, Collection, Sequence

from msgspec.structs import replace

from fetchml.core.model import ENDED, Kept, Task
from fetchml.core.state import State
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.task_lookup import TaskLookup
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_files import TaskFiles
from fetchml.system.locks import KeyedLocks


class EndedTasks:
    """Used from one event loop."""

    def __init__(
        self,
        tasks: TaskLookup,
        files: TaskFiles,
        usage: StorageUsage,
        state: State,
        dispatcher: Dispatcher,
        clock: Callable[[], int],
    ) -> None:
        self._tasks = tasks
        self._files = files
        self._usage = usage
        self._state = state
        self._dispatcher = dispatcher
        self._clock = clock
        self.locks = KeyedLocks()
        """`("delete", ID)` is held from reading a task to removing it."""

    def users_of(self, task_id: str) -> Collection[str]:
        """Ids of the live tasks that need a task's outputs."""
        return self._state.inputs.get(task_id, ())

    def is_needed(self, task_id: str) -> bool:
        """Whether live tasks need a task's outputs. Until they have ended, neither the task nor its
        outputs are removed."""
        return task_id in self._state.inputs

    def hide(self, tasks: Sequence[Task]) -> asyncio.Future[None]:
        """Done when it is durable. Then remove their files. With their locks held."""
        return self._dispatcher.record(
            self._clock(), [replace(task, hidden=True) for task in tasks]
        )

    def edit(self, task: Task) -> asyncio.Future[None]:
        """Record a task's new labels. Done when it is durable. With its lock held."""
        now = self._clock()
        return self._dispatcher.record(now, [replace(task, edited_at=now)])

    async def remove(self, task_ids: Sequence[str]) -> list[Task]:
        """In one commit, with their files; returns those that were there still. Those that live
        tasks need stay."""
        async with self.locks.hold_all([("delete", each) for each in sorted(task_ids)]):
            tasks = await self._ended(task_ids)
            if tasks:
                await self.hide(tasks)
        for task in tasks:
            await self._files.remove(task.id)
        return tasks

    async def remove_outputs(self, task_ids: Sequence[str]) -> list[Task]:
        """In one commit; returns those that had outputs. Those that live tasks need stay."""
        async with self.locks.hold_all([("delete", each) for each in sorted(task_ids)]):
            tasks = await self._ended(task_ids)
            tasks = [task for task in tasks if task.kept is None or task.kept.outputs_files]
            if tasks:
                now = self._clock()
                after = [_without_outputs(task, now) for task in tasks]
                await self._dispatcher.record(now, after)
                for before, changed in zip(tasks, after, strict=True):
                    self._usage.outputs_removed(before, changed)
        for task in tasks:
            await self._files.remove_outputs(task.id)
        return tasks

    async def _ended(self, task_ids: Sequence[str]) -> list[Task]:
        found = [await self._tasks.get(task_id) for task_id in task_ids]
        there = [task for task in found if task.status in ENDED and not task.hidden]
        return [task for task in there if not self.is_needed(task.id)]


def _without_outputs(task: Task, now: int) -> Task:
    kept = task.kept or Kept()
    return replace(
        task, kept=replace(kept, outputs_bytes=0, outputs_files=0), outputs_removed_at=now
    )
