"""Outputs of ended tasks, as inputs of another one (`inputs_from`)."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from fetchml.core.model import ENDED, Task
from fetchml.files.kept_outputs import make_readable
from fetchml.files.task_files import TaskFiles
from fetchml.files.untrusted import TooDeepError
from fetchml.ports.launcher import INPUTS, Mount, Owner, PrepareError
from fetchml.system.threads import UserThreads

OPENING_THREADS = 2
"""Tasks decide how many files their outputs have."""


class TaskInputs:
    def __init__(self, find: Callable[[str], Awaitable[Task | None]], files: TaskFiles) -> None:
        """`find` returns the newest durable version of a task."""
        self._find = find
        self._files = files
        self._opening = UserThreads("inputs", OPENING_THREADS)

    async def provide(self, task: Task, owner: Owner) -> tuple[Mount, ...]:
        """Return the mounts of a task's inputs. `owner`: of the attempt. Raises PrepareError.

        They stay as long as the task lives: what a live task names is not deleted.
        """
        named = task.spec.inputs_from or ()
        found = [await self._find(task_id) for task_id in named]
        tasks = [each for each in found if each is not None and _has_outputs(each)]
        if len(tasks) < len(named):
            missing = set(named) - {each.id for each in tasks}
            message = f"the outputs of task {', '.join(sorted(missing))} were removed"
            raise PrepareError(message, permanent=True)
        own = owner == (os.geteuid(), os.getegid())
        for each in [] if own else tasks:
            try:
                await self._open(task.user, self._files.outputs(each.id))
            except (OSError, TooDeepError) as error:
                message = f"the outputs of task {each.id} can't be read: {error}"
                raise PrepareError(message, permanent=False) from error
        for each in tasks if own else []:
            await asyncio.to_thread(
                self._files.outputs(each.id).mkdir, 0o700, parents=True, exist_ok=True
            )
        sources = [self._files.outputs(each.id) for each in tasks]
        return tuple(
            Mount(source, f"{INPUTS}/{place}", read_only=True)
            for source, place in zip(sources, places(tasks), strict=True)
        )

    async def _open(self, user: str, outputs: Path) -> None:
        """Raises OSError, TooDeepError."""
        await self._opening.run(user, lambda _: make_readable(outputs))


def _has_outputs(task: Task) -> bool:
    return task.status in ENDED and not task.hidden and task.outputs_removed_at is None


def places(tasks: Sequence[Task]) -> list[str]:
    """Names below the folder of inputs: the job name, or a folder by id in it for each of several
    tasks with the same job name."""
    names = Counter(task.spec.job_name for task in tasks)
    return [
        task.spec.job_name if names[task.spec.job_name] == 1 else f"{task.spec.job_name}/{task.id}"
        for task in tasks
    ]
