"""The GPU pool: the GPUs of the host, which tasks hold them, and which are allocated to a task.

A GPU has one slot, or as many as the host's owner lets tasks share it. When its last holder
releases it, it is *settling*: it is not allocated before a check found nothing left on it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

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
    position: int = 0
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
    return tuple(Gpu(f"{PLAIN}{number}", position=number) for number in range(count))


def is_plain(uuid: str) -> bool:
    return uuid.startswith(PLAIN)


UNOWNED = ""
"""Placeholder for processes of unknown tasks, such as those that have ended."""


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
    task: Task, utilisation: Mapping[str, Utilisation], holders: Mapping[str, Iterable[str]]
) -> int | None:
    """Return the highest use of the task's GPUs by it, in percent; `None` if one of them was not
    read. On a GPU that it shares, all use counts as its own unless the driver reports it by
    process. `holders`: the tasks on each GPU."""
    most = 0
    for uuid in task.gpu_uuids:
        use = utilisation.get(uuid)
        if use is None:
            return None
        is_shared = any(other != task.id for other in holders.get(uuid, ()))
        if is_shared and use.tasks is not None:
            most = max(most, use.tasks.get(task.id, 0), use.tasks.get(UNOWNED, 0))
        else:
            most = max(most, use.percent)
    return most


GONE = Obstacle(ObstacleKind.LOST, "no longer present")
REMEMBERED = 64
"""Limit on remembered lost GPUs that no task holds: a MIG device gets a new UUID whenever it is
created."""


class Placement(StrEnum):
    FILL = "fill"
    """Neighbours together, in the smallest gap that fits; of shared GPUs the fullest first."""
    SPREAD = "spread"
    """The emptiest GPUs first, far from GPUs in use."""


@dataclass(slots=True)
class GpuPool:
    slots_per_gpu: int = 1
    inventory: dict[str, Gpu] = field(default_factory=dict)
    """By UUID, lost ones included."""
    holders: dict[str, list[str]] = field(default_factory=dict)
    """Ids of tasks by UUID; no list is empty."""
    settling: set[str] = field(default_factory=set)
    faults: dict[str, Obstacle] = field(default_factory=dict)
    """Findings of the check of a GPU after a task, by UUID."""
    drained: dict[str, str] = field(default_factory=dict)
    """The user or rule that drained each GPU, by UUID."""
    is_reported: bool = False
    """Whether the inventory has been seen. Before, no request for GPUs counts as impossible."""

    def copy(self) -> "GpuPool":
        return GpuPool(
            self.slots_per_gpu,
            dict(self.inventory),
            {uuid: list(holders) for uuid, holders in self.holders.items()},
            set(self.settling),
            dict(self.faults),
            dict(self.drained),
            self.is_reported,
        )

    def see(self, gpus: Iterable[Gpu]) -> None:
        """Replace the inventory. A GPU that is no longer in it is lost. A fault that a check
        found is cleared if the inventory shows the GPU unblocked."""
        seen = {gpu.uuid: gpu for gpu in gpus}
        holding = {uuid: Gpu(uuid, position=len(seen)) for uuid in self.holders}
        for uuid, gpu in {**holding, **self.inventory}.items():
            if uuid not in seen and not is_plain(uuid):
                seen[uuid] = gpu if gpu.lost else replace(gpu, blocked=GONE)
            elif uuid in self.inventory:
                seen.setdefault(uuid, gpu)
        gone = [uuid for uuid, gpu in seen.items() if gpu.lost and uuid not in self.holders]
        for uuid in gone[:-REMEMBERED]:
            del seen[uuid]
        self.inventory = seen
        self.settling &= seen.keys()
        self.faults = {
            uuid: fault
            for uuid, fault in self.faults.items()
            if uuid in seen and seen[uuid].blocked is not None
        }
        self.is_reported = True

    def checked(self, uuid: str, fault: Obstacle | None) -> None:
        self.settling.discard(uuid)
        if fault is None:
            self.faults.pop(uuid, None)
        elif uuid in self.inventory:
            self.faults[uuid] = fault

    def drain(self, uuid: str, by: str | None) -> None:
        """Take a GPU out of use, or return it to use if `by` is `None`."""
        if by is None:
            self.drained.pop(uuid, None)
        elif uuid in self.inventory or not self.is_reported:
            self.drained[uuid] = by

    def obstacle(self, uuid: str) -> Obstacle | None:
        """Return why it can't be allocated even if no task holds it; `None` if it can."""
        gpu = self.inventory.get(uuid)
        if gpu is None:
            return GONE
        if gpu.blocked is not None:
            return gpu.blocked
        if uuid in self.faults:
            return self.faults[uuid]
        if uuid in self.drained:
            return Obstacle(ObstacleKind.DRAINED, self.drained[uuid])
        return None

    def in_order(self) -> list[str]:
        """UUIDs of all GPUs, in the order of their numbers."""
        return [gpu.uuid for gpu in sorted(self.inventory.values(), key=_position)]

    def usable(self) -> list[str]:
        """UUIDs of GPUs that can be allocated once no task holds them."""
        return [uuid for uuid in self.inventory if self.obstacle(uuid) is None]

    def free(self) -> dict[str, int]:
        """Free slots by UUID, of GPUs that can be allocated now."""
        free = {}
        for uuid in self.usable():
            left = self.slots_per_gpu - len(self.holders.get(uuid, ()))
            if left > 0 and uuid not in self.settling:
                free[uuid] = left
        return free

    def allocate(self, task_id: str, uuids: Iterable[str]) -> None:
        for uuid in uuids:
            self.holders.setdefault(uuid, []).append(task_id)

    def release(self, task_id: str, uuids: Iterable[str]) -> tuple[str, ...]:
        """Return the UUIDs of released GPUs, which must be checked."""
        to_check = []
        for uuid in uuids:
            holders = self.holders[uuid]
            holders.remove(task_id)
            if not holders:
                del self.holders[uuid]
                if uuid in self.inventory and not is_plain(uuid):
                    self.settling.add(uuid)
                    to_check.append(uuid)
        return tuple(to_check)

    def choose(
        self,
        free: Mapping[str, int],
        count: int,
        placement: Placement,
        avoid: Collection[str] = (),
        shun: Collection[str] = (),
    ) -> tuple[str, ...] | None:
        """Choose `count` different GPUs from `free` (slots by UUID), in the order of their
        positions.

        None of `avoid`; those of `shun` only if there are not enough others. Returns `None` if
        there are too few.
        """
        candidates = [self.inventory[uuid] for uuid in free if uuid not in avoid]
        if len(candidates) < count:
            return None
        better = [gpu for gpu in candidates if gpu.uuid not in shun]
        if len(better) >= count:
            candidates = better
        candidates.sort(key=_position)
        used = {gpu.uuid: self.slots_per_gpu - free[gpu.uuid] for gpu in candidates}
        pick = _fill if placement is Placement.FILL else self._spread
        chosen = pick(candidates, count, used)
        return tuple(gpu.uuid for gpu in sorted(chosen, key=_position))

    def avoidable(self, avoid: Collection[str], count: int) -> Collection[str]:
        """`avoid` if enough other GPUs are usable for a request of `count`, else nothing."""
        if not avoid:
            return ()
        others = sum(uuid not in avoid for uuid in self.usable())
        return avoid if others >= count else ()

    def _spread(self, candidates: list[Gpu], count: int, used: Mapping[str, int]) -> list[Gpu]:
        busy = [self.inventory[uuid] for uuid in self.holders if uuid in self.inventory]
        left = list(candidates)
        chosen: list[Gpu] = []
        while len(chosen) < count:

            def closeness(gpu: Gpu) -> tuple[int, int, int, int]:
                near = [*busy, *chosen]
                siblings = sum(gpu.parent is not None and gpu.parent == o.parent for o in near)
                distance = min((abs(gpu.position - o.position) for o in near), default=0)
                return used[gpu.uuid], siblings, -distance, gpu.position

            best = min(left, key=closeness)
            left.remove(best)
            chosen.append(best)
        return chosen


def _position(gpu: Gpu) -> tuple[int, str]:
    return gpu.position, gpu.uuid


def _fill(candidates: list[Gpu], count: int, used: Mapping[str, int]) -> list[Gpu]:
    """`candidates` are sorted by place."""
    shared = sorted((gpu for gpu in candidates if used[gpu.uuid]), key=lambda g: -used[g.uuid])
    chosen = shared[:count]
    count -= len(chosen)
    if not count:
        return chosen
    empty = [gpu for gpu in candidates if not used[gpu.uuid]]
    gaps = [gap for gap in _gaps(empty) if len(gap) >= count]
    if gaps:
        return chosen + min(gaps, key=len)[:count]
    windows = [empty[first : first + count] for first in range(len(empty) - count + 1)]
    return chosen + min(windows, key=lambda window: window[-1].position - window[0].position)


def _gaps(gpus: Sequence[Gpu]) -> list[list[Gpu]]:
    """Runs of neighbours."""
    runs: list[list[Gpu]] = []
    for gpu in gpus:
        if runs and gpu.position == runs[-1][-1].position + 1:
            runs[-1].append(gpu)
        else:
            runs.append([gpu])
    return runs
