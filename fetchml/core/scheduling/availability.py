"""Resources that one decision can still allocate: those free, less those reserved."""

from collections.abc import Collection
from copy import copy

from fetchml.core.model import Resources, Task
from fetchml.core.scheduling.ready_queue import Shape
from fetchml.core.state import State


class Availability:
    """Starts as what is free, and shrinks with each backfill reservation."""

    __slots__ = ("_placement", "_pool", "cpu", "gpus", "memory_gb", "slots")

    def __init__(self, state: State) -> None:
        self.cpu = state.limits.capacity.cpu - state.used.cpu
        self.memory_gb = state.limits.capacity.memory_gb - state.used.memory_gb
        self.gpus = state.gpus.free()
        """Free slots by UUID; GPUs without one are left out."""
        self.slots = state.free_slots
        """Tasks that may be started."""
        self._pool = state.gpus
        self._placement = state.limits.placement

    def copy(self) -> "Availability":
        other = copy(self)
        other.gpus = dict(self.gpus)
        return other

    def fits(self, shape: Shape, closed: Collection[str] = ()) -> bool:
        """`closed`: GPUs that bookings keep from the task."""
        wanted = shape.resources
        if not self.has_cores(wanted):
            return False
        count = wanted.gpu
        if not count or not (shape.avoid or closed):
            return count <= len(self.gpus)
        avoid = self._pool.avoidable(shape.avoid, count)
        return count <= sum(uuid not in avoid and uuid not in closed for uuid in self.gpus)

    def has_cores(self, wanted: Resources) -> bool:
        """Whether cores and memory suffice. What is not requested need not be free."""
        return (not wanted.cpu or wanted.cpu <= self.cpu) and (
            not wanted.memory_gb or wanted.memory_gb <= self.memory_gb
        )

    def choose(
        self, shape: Shape, shun: Collection[str] = (), closed: Collection[str] = ()
    ) -> tuple[str, ...]:
        """UUIDs of the GPUs for a task of this shape, or of as many of them as are free. `closed`:
        see `fits`."""
        avoid = self._pool.avoidable(shape.avoid, shape.resources.gpu)
        if closed:
            avoid = {*avoid, *closed}
        there = sum(uuid not in avoid for uuid in self.gpus)
        count = min(shape.resources.gpu, there)
        chosen = self._pool.choose(self.gpus, count, self._placement, avoid, shun)
        return chosen or ()

    def reserve(self, wanted: Resources, uuids: Collection[str]) -> bool:
        """Take out what a task requests, as far as it is free; whether any of it was."""
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

    def release(self, task: Task) -> None:
        """Add what a task holds, as if it had ended."""
        wanted = task.spec.resources
        self.cpu += wanted.cpu
        self.memory_gb += wanted.memory_gb
        for uuid in task.gpu_uuids:
            if self._pool.obstacle(uuid) is None:
                self.gpus[uuid] = self.gpus.get(uuid, 0) + 1
