"""What can still be given in one decision: what is free, less what is kept for somebody."""

from collections.abc import Collection
from copy import copy

from fetchml.core.model import Resources, Task
from fetchml.core.scheduling.ready_queue import Shape
from fetchml.core.state import State


class Availability:
    __slots__ = ("_gpus_of_box", "_placement", "cpu", "gpus", "memory_gb", "slots")

    def __init__(self, state: State) -> None:
        self.cpu = state.limits.capacity.cpu - state.used.cpu
        self.memory_gb = state.limits.capacity.memory_gb - state.used.memory_gb
        self.gpus = state.gpus.free()
        """Free slots of each GPU that has some."""
        self.slots = state.free_slots
        self._gpus_of_box = state.gpus
        self._placement = state.limits.placement

    def copy(self) -> "Availability":
        other = copy(self)
        other.gpus = dict(self.gpus)
        return other

    def fits(self, shape: Shape) -> bool:
        wanted = shape.resources
        if not self.has_cores(wanted):
            return False
        count = wanted.gpu
        if not count or not shape.avoid:
            return count <= len(self.gpus)
        avoid = self._gpus_of_box.avoidable(shape.avoid, count)
        return count <= sum(uuid not in avoid for uuid in self.gpus)

    def has_cores(self, wanted: Resources) -> bool:
        """And memory. What is not asked for need not be free."""
        return (not wanted.cpu or wanted.cpu <= self.cpu) and (
            not wanted.memory_gb or wanted.memory_gb <= self.memory_gb
        )

    def choose(self, shape: Shape, shun: Collection[str] = ()) -> tuple[str, ...]:
        """The GPUs for a task of this shape, or as many of them as there are."""
        avoid = self._gpus_of_box.avoidable(shape.avoid, shape.resources.gpu)
        there = sum(uuid not in avoid for uuid in self.gpus)
        count = min(shape.resources.gpu, there)
        chosen = self._gpus_of_box.choose(self.gpus, count, self._placement, avoid, shun)
        return chosen or ()

    def keep(self, wanted: Resources, uuids: Collection[str]) -> bool:
        """For somebody: all that is free of what is asked for, but no more than that. False:
        nothing of it was free."""
        cpu, memory_gb = min(self.cpu, wanted.cpu), min(self.memory_gb, wanted.memory_gb)
        self.cpu -= max(0, cpu)
        self.memory_gb -= max(0, memory_gb)
        for uuid in uuids:
            left = self.gpus[uuid] - 1
            if left:
                self.gpus[uuid] = left
            else:
                del self.gpus[uuid]
        return cpu > 0 or memory_gb > 0 or bool(uuids)

    def give_back(self, task: Task) -> None:
        """As if the task that holds its resources had ended."""
        wanted = task.spec.resources
        self.cpu += wanted.cpu
        self.memory_gb += wanted.memory_gb
        for uuid in task.gpu_uuids:
            if self._gpus_of_box.obstacle(uuid) is None:
                self.gpus[uuid] = self.gpus.get(uuid, 0) + 1
