"""Use of GPUs by the tasks on them, as samples report it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fetchml.core.model import Task, Value

UNOWNED = ""
"""Stands for processes that belong to no known task, such as those that have ended."""


class Utilisation(Value, frozen=True):
    """The highest use of one GPU since the last `GpusUsed`."""

    uuid: str
    percent: int
    """By all processes."""
    tasks: Mapping[str, int] | None = None
    """By the processes of each task that used it, by its id, and of UNOWNED; `None` if the driver
    does not report use by process."""

    def or_more(self, other: "Utilisation") -> "Utilisation":
        """Return the higher use of two times."""
        tasks = None
        if self.tasks is not None and other.tasks is not None:
            names = {*self.tasks, *other.tasks}
            tasks = {each: max(self.tasks.get(each, 0), other.tasks.get(each, 0)) for each in names}
        return Utilisation(self.uuid, max(self.percent, other.percent), tasks)


class GpuMemory(Value, frozen=True):
    """The memory that the tasks on one GPU use, in MiB."""

    uuid: str
    tasks: Mapping[str, int]
    """By the task's id. A task of unknown use is missing."""


class Quiet(NamedTuple):
    """A time in which every sample of an attempt was below the limit."""

    attempt: int
    since: int
    """The first sample."""
    last: int
    """The newest one."""


def busiest(
    task: Task, found: Mapping[str, Utilisation], holders: Mapping[str, Iterable[str]]
) -> int | None:
    """Return the highest use of the task's GPUs by it, in percent; `None` if one of them was not
    read. On a GPU that it shares, all use counts as its own unless the driver reports it by
    process. `holders`: the tasks on each GPU."""
    most = 0
    for uuid in task.gpu_uuids:
        use = found.get(uuid)
        if use is None:
            return None
        is_shared = any(other != task.id for other in holders.get(uuid, ()))
        if is_shared and use.tasks is not None:
            most = max(most, use.tasks.get(task.id, 0), use.tasks.get(UNOWNED, 0))
        else:
            most = max(most, use.percent)
    return most
