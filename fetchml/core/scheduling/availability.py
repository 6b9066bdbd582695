"""Resources that one decision can still allocate: those free, less those reserved."""

from collections.abc import Collection
from copy import copy

from fetchml.core.model import Resources, Task
from fetchml.core.packing.peaks import Job
from fetchml.core.scheduling.ready_queue import Shape
from fetchml.core.state import State


class Availability:
    """Starts as what is free, and shrinks with each backfill reservation."""

    __slots__ = ("_packing", "_placement", "_state", "cpu", "gpus", "memory_gb", "room", "slots")

    def __init__(self, state: State) -> None:
        self.cpu = state.limits.capacity.cpu - state.used.cpu
        self.memory_gb = state.limits.capacity.memory_gb - state.used.memory_gb
        self.gpus = state.gpus.free()
        """Free slots by UUID; GPUs without one are left out."""
        self.slots = state.free_slots
        """Tasks that may be started."""
        self._state = state
        self._packing = state.packing
        self.room = None
        """Set if the server packs tasks by their peaks of GPU memory (`core.packing`)."""
        if state.packing is not None:
            pool = state.gpus
            self.room = state.packing.room(pool.known.values(), pool.holders, state.tasks)
        self._placement = state.limits.placement

    def copy(self) -> "Availability":
        other = copy(self)
        other.gpus = dict(self.gpus)
        other.room = None if self.room is None else self.room.copy()
        return other

    def fits(self, shape: Shape, closed: Collection[str] = ()) -> bool:
        """`closed`: GPUs that bookings keep from the task."""
        wanted = shape.resources
        if not self.has_cores(wanted):
            return False
        count = wanted.gpu
        if not count or not (shape.avoid or closed or self.room):
            return count <= len(self.gpus)
        avoid = self._state.gpus.avoidable(shape.avoid, count)
        return count <= sum(
            uuid not in avoid and uuid not in closed and self.has_room(uuid, shape.job)
            for uuid in self.gpus
        )

    def has_room(self, uuid: str, job: Job | None) -> bool:
        """Whether a GPU with a free slot has the memory for a task. `job`: see `Shape.job`."""
        return self.room is None or self.room.fits(uuid, self._peak(job))

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
        avoid = self._state.gpus.avoidable(shape.avoid, shape.resources.gpu)
        if closed:
            avoid = {*avoid, *closed}
        free = self.gpus
        if self.room is not None:
            free = {uuid: left for uuid, left in free.items() if self.has_room(uuid, shape.job)}
        there = sum(uuid not in avoid for uuid in free)
        count = min(shape.resources.gpu, there)
        chosen = self._state.gpus.choose(free, count, self._placement, avoid, shun)
        return chosen or ()

    def choose_to_reserve(self, shape: Shape, closed: Collection[str] = ()) -> tuple[str, ...]:
        """UUIDs of the GPUs that are kept for a task of this shape. `closed`: see `fits`.

        With packing a GPU with a free slot may lack the memory. Those that lack it are kept as
        well, so that the tasks on them end and none joins: first those that the fewest tasks go on
        to hold. That number never rises on a kept GPU, so that one becomes free.
        """
        if self.room is None:
            return self.choose(shape, closed=closed)
        pool = self._state.gpus
        avoid = pool.avoidable(shape.avoid, shape.resources.gpu)
        candidates = [uuid for uuid in self.gpus if uuid not in avoid and uuid not in closed]
        candidates.sort(
            key=lambda uuid: (
                not self.has_room(uuid, shape.job),
                sum(map(self._goes_on, pool.holders.get(uuid, ()))),
                pool.known[uuid].place,
                uuid,
            )
        )
        return tuple(candidates[: shape.resources.gpu])

    def reserve(self, task_id: str, shape: Shape, uuids: Collection[str]) -> bool:
        """Take out what a task requests, as far as it is free; whether any of it was."""
        wanted = shape.resources
        cpu, memory_gb = min(self.cpu, wanted.cpu), min(self.memory_gb, wanted.memory_gb)
        self.cpu -= max(0, cpu)
        self.memory_gb -= max(0, memory_gb)
        for uuid in uuids:
            left = self.gpus[uuid] - 1
            if self.room is not None and not self.has_room(uuid, shape.job):
                left = 0
            elif self.room is not None:
                self.room.take(uuid, task_id, self._peak(shape.job))
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
            if self.room is not None:
                self.room.release(uuid, task.id)
            if self._state.gpus.obstacle(uuid) is None:
                self.gpus[uuid] = self.gpus.get(uuid, 0) + 1

    def _peak(self, job: Job | None) -> int | None:
        return None if job is None or self._packing is None else self._packing.peaks.get(job)

    def _goes_on(self, task_id: str) -> bool:
        task = self._state.tasks[task_id]
        return task.cancel is None and task.halt is None
