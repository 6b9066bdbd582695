"""The box's GPUs: who holds which, which can be given, and which are chosen.

A GPU has slots: one, or as many as the owner lets share it. Given back by its last holder, it is
*settling* until it was looked at: given to nobody.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec.structs import replace

from fetchml.core.gpus.model import Gpu, Obstacle, ObstacleKind, is_plain

GONE = Obstacle(ObstacleKind.LOST, "it is not there any more")
REMEMBERED = 64
"""Lost GPUs that nobody holds, at most: a MIG device has another UUID each time it is made."""


class Placement(StrEnum):
    FILL = "fill"
    """Neighbours together, in the smallest gap that fits; shared GPUs: the fullest first."""
    SPREAD = "spread"
    """The emptiest first, far from what is in use."""


@dataclass(slots=True)
class GpuPool:
    slots_per_gpu: int = 1
    known: dict[str, Gpu] = field(default_factory=dict)
    """By UUID, the lost ones too."""
    holders: dict[str, list[str]] = field(default_factory=dict)
    """Tasks by UUID; none is empty."""
    settling: set[str] = field(default_factory=set)
    faults: dict[str, Obstacle] = field(default_factory=dict)
    """By UUID: why a look at it after a task did not find it as it should be."""
    drained: dict[str, str] = field(default_factory=dict)
    """By UUID: who has taken it out of use."""
    is_known: bool = False
    """The inventory was seen: what a task asks for beyond it, this box does not have."""

    def copy(self) -> "GpuPool":
        return GpuPool(
            self.slots_per_gpu,
            dict(self.known),
            {uuid: list(holders) for uuid, holders in self.holders.items()},
            set(self.settling),
            dict(self.faults),
            dict(self.drained),
            self.is_known,
        )

    def see(self, gpus: Iterable[Gpu]) -> None:
        """The whole inventory, as it is now. A GPU that is not in it any more is lost; what an
        earlier look found wrong with one that is in it and not blocked has passed."""
        seen = {gpu.uuid: gpu for gpu in gpus}
        held = {uuid: Gpu(uuid, place=len(seen)) for uuid in self.holders}
        for uuid, gpu in {**held, **self.known}.items():
            if uuid not in seen and not is_plain(uuid):
                seen[uuid] = gpu if gpu.lost else replace(gpu, blocked=GONE)
            elif uuid in self.known:
                seen.setdefault(uuid, gpu)
        gone = [uuid for uuid, gpu in seen.items() if gpu.lost and uuid not in self.holders]
        for uuid in gone[:-REMEMBERED]:
            del seen[uuid]
        self.known = seen
        self.settling &= seen.keys()
        self.faults = {
            uuid: fault
            for uuid, fault in self.faults.items()
            if uuid in seen and seen[uuid].blocked is not None
        }
        self.is_known = True

    def checked(self, uuid: str, fault: Obstacle | None) -> None:
        self.settling.discard(uuid)
        if fault is None:
            self.faults.pop(uuid, None)
        elif uuid in self.known:
            self.faults[uuid] = fault

    def drain(self, uuid: str, by: str | None) -> None:
        """`by` None: it is in use again."""
        if by is None:
            self.drained.pop(uuid, None)
        elif uuid in self.known or not self.is_known:
            self.drained[uuid] = by

    def obstacle(self, uuid: str) -> Obstacle | None:
        """Why it can't be allocated even if no task holds it; `None` if it can."""
        gpu = self.known.get(uuid)
        if gpu is None:
            return GONE
        if gpu.blocked is not None:
            return gpu.blocked
        if uuid in self.faults:
            return self.faults[uuid]
        if uuid in self.drained:
            return Obstacle(ObstacleKind.DRAINED, self.drained[uuid])
        return None

    def usable(self) -> list[str]:
        """Those that can be given as soon as nobody holds them."""
        return [uuid for uuid in self.known if self.obstacle(uuid) is None]

    def free(self) -> dict[str, int]:
        """Free slots of each GPU that has any to give now."""
        free = {}
        for uuid in self.usable():
            left = self.slots_per_gpu - len(self.holders.get(uuid, ()))
            if left > 0 and uuid not in self.settling:
                free[uuid] = left
        return free

    def give(self, task_id: str, uuids: Iterable[str]) -> None:
        for uuid in uuids:
            self.holders.setdefault(uuid, []).append(task_id)

    def take_back(self, task_id: str, uuids: Iterable[str]) -> tuple[str, ...]:
        """The GPUs that nobody holds any more and that are to be looked at first."""
        to_check = []
        for uuid in uuids:
            holders = self.holders[uuid]
            holders.remove(task_id)
            if not holders:
                del self.holders[uuid]
                if uuid in self.known and not is_plain(uuid):
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
        """`count` different ones of `free` (slots by UUID), in the order of their places; None:
        there are not so many. None of `avoid`; of `shun` only what can't be done without."""
        candidates = [self.known[uuid] for uuid in free if uuid not in avoid]
        if len(candidates) < count:
            return None
        better = [gpu for gpu in candidates if gpu.uuid not in shun]
        if len(better) >= count:
            candidates = better
        candidates.sort(key=_place)
        used = {gpu.uuid: self.slots_per_gpu - free[gpu.uuid] for gpu in candidates}
        pick = _fill if placement is Placement.FILL else self._spread
        chosen = pick(candidates, count, used)
        return tuple(gpu.uuid for gpu in sorted(chosen, key=_place))

    def avoidable(self, avoid: Collection[str], count: int) -> Collection[str]:
        """`avoid`, as long as there are others enough for a task that asks for `count`."""
        if not avoid:
            return ()
        others = sum(uuid not in avoid for uuid in self.usable())
        return avoid if others >= count else ()

    def _spread(self, candidates: list[Gpu], count: int, used: Mapping[str, int]) -> list[Gpu]:
        busy = [self.known[uuid] for uuid in self.holders if uuid in self.known]
        left = list(candidates)
        chosen: list[Gpu] = []
        while len(chosen) < count:

            def closeness(gpu: Gpu) -> tuple[int, int, int, int]:
                near = [*busy, *chosen]
                siblings = sum(gpu.parent is not None and gpu.parent == o.parent for o in near)
                distance = min((abs(gpu.place - o.place) for o in near), default=0)
                return used[gpu.uuid], siblings, -distance, gpu.place

            best = min(left, key=closeness)
            left.remove(best)
            chosen.append(best)
        return chosen


def _place(gpu: Gpu) -> tuple[int, str]:
    return gpu.place, gpu.uuid


def _fill(candidates: list[Gpu], count: int, used: Mapping[str, int]) -> list[Gpu]:
    """`candidates` in the order of their places."""
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
    return chosen + min(windows, key=lambda window: window[-1].place - window[0].place)


def _gaps(gpus: Sequence[Gpu]) -> list[list[Gpu]]:
    """Runs of neighbours."""
    runs: list[list[Gpu]] = []
    for gpu in gpus:
        if runs and gpu.place == runs[-1][-1].place + 1:
            runs[-1].append(gpu)
        else:
            runs.append([gpu])
    return runs
