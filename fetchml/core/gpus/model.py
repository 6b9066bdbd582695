"""The GPUs of the host from the scheduler's view, and their use by tasks as samples report it."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from fetchml.core.model import Task, Value


class ObstacleKind(StrEnum):
    """Reasons why no task may be started on a GPU."""

    LOST = "lost"
    """It is gone until it is seen again: what runs on it has lost it."""
    SICK = "sick"
    """It must be reset or examined before it can be used."""
    BUSY = "busy"
    """A process that belongs to no task, or memory that no visible process holds, is on it."""
    UNKNOWN = "unknown"
    """The driver returns nothing about it at the moment."""
    DRAINED = "drained"
    """An admin, or the server for a sick GPU, took it out of use."""


class Obstacle(Value, frozen=True):
    """One reason why no task may be started on a GPU. Its text is for users who wait."""

    kind: ObstacleKind
    detail: str
    """The cause ("python3 (pid 4711, 2.1 GiB)"); of a drained GPU, who drained it."""

    def __str__(self) -> str:
        if self.kind is ObstacleKind.DRAINED:
            return f"drained by {self.detail}"
        return f"{self.kind}: {self.detail}"


class Gpu(Value, frozen=True):
    """A whole GPU, or a MIG device: the unit that is allocated to tasks."""

    uuid: str
    name: str = ""
    memory_mb: int = 0
    place: int = 0
    """Position on the bus: neighbours have neighbouring numbers."""
    parent: str | None = None
    """UUID of the GPU that a MIG device is a part of; `None` for a whole GPU."""
    blocked: Obstacle | None = None
    """`None` if tasks may be started on it, as far as the driver reports."""

    @property
    def lost(self) -> bool:
        return self.blocked is not None and self.blocked.kind is ObstacleKind.LOST


PLAIN = "slot-"


def plain_slots(count: int) -> tuple[Gpu, ...]:
    """GPUs of a host without an inventory: they are counted, and no device is passed to tasks."""
    return tuple(Gpu(f"{PLAIN}{number}", place=number) for number in range(count))


def is_plain(uuid: str) -> bool:
    return uuid.startswith(PLAIN)


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
