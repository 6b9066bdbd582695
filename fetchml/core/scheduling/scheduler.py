"""Which waiting task starts next, and on which GPUs.

The order: the more urgent first; among equals, tasks of users who used less of the host lately;
then the oldest.

Backfill: a smaller task may pass a larger one that is blocked, until the blocked one has waited for
`reserve_after`. From then on it has a backfill reservation: what becomes free is kept for it, as
much as it requests and no more, so that no task starves. A task that waits because of its user's
quota has none. What an admin reserves for a user is a booking (`core.bookings`).

A prestaged task starts at once on the GPU that it is prestaged for. There it passes another of its
priority whose turn it is but that is prestaged for another GPU, until that one has been passed in
this way for `reserve_after`.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from copy import copy
from typing import NamedTuple

from fetchml.core.model import HaltCause, Resources, Task
from fetchml.core.packing import Job
from fetchml.core.scheduling.ready_queue import Shape, SubQueue
from fetchml.core.scheduling.waiting import PRESTAGED, Discarding, held_back, may_be_prestaged
from fetchml.core.state import State


class Availability:
    """Initially the free resources; shrinks with each backfill reservation."""

    __slots__ = ("_packing", "_placement", "_state", "cpu", "gpus", "memory_gb", "room", "slots")

    def __init__(self, state: State) -> None:
        self.cpu = state.limits.capacity.cpu - state.used.cpu
        self.memory_gb = state.limits.capacity.memory_gb - state.used.memory_gb
        self.gpus = state.gpus.free()
        """Free slots by UUID, without GPUs that have none."""
        self.slots = state.free_slots
        """Tasks that may be started."""
        self._state = state
        self._packing = state.packing
        self.room = None
        """Set if the server packs tasks by their peaks of GPU memory (`core.packing`)."""
        if state.packing is not None:
            pool = state.gpus
            self.room = state.packing.room(pool.inventory.values(), pool.holders, state.tasks)
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
                pool.inventory[uuid].position,
                uuid,
            )
        )
        return tuple(candidates[: shape.resources.gpu])

    def reserve(self, task_id: str, shape: Shape, uuids: Collection[str]) -> bool:
        """Subtract a task's request as far as it is free; returns whether any of it was."""
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
        """Add the resources of a task, as if it had ended."""
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


class Allocate(NamedTuple):
    """The task gets its resources now."""

    task_id: str
    gpu_uuids: tuple[str, ...]


class Discard(NamedTuple):
    """The task is prestaged for other GPUs than those that are free for it now."""

    task_id: str


class ShareLevels:
    """Each user's fair-share level, looked up once in a decision."""

    def __init__(self, state: State, now: int) -> None:
        self._state = state
        self._now = now
        self._known: dict[str, int] = {}

    def __call__(self, user: str) -> int:
        level = self._known.get(user)
        if level is None:
            level = self._known[user] = self._state.shares.level(user, self._now)
        return level

    def forget(self, user: str) -> None:
        self._known.pop(user, None)


LOOKED_AT = 256
"""Tasks behind the heads of sub-queues that one pass considers because of bookings."""


class SchedulingPass:
    """One pass over the ready queue, in search of a task that can start."""

    def __init__(self, state: State, now: int, level: ShareLevels) -> None:
        self.available = Availability(state)
        self.reserved_for: list[str] = []
        """Ids of tasks that something free is reserved for."""
        self._state = state
        self._now = now
        self._level = level
        self._prestaged = _by_gpu(state.prestaged()) if state.wait_states else {}
        self._preemptors = preemptors(state)
        self._visits = LOOKED_AT

    def next(self, until: SubQueue | None = None) -> Allocate | Discard | None:
        """The next action; `None` if no task can start. `until`: the sub-queue to stop at."""
        state = self._state
        if not state.may_start or self.available.slots <= 0 or not self._something_fits():
            return None
        for queue in state.queue.sub_queues(self._level):
            if queue is until:
                return None
            if over_quota(state, queue):
                continue
            reserved = len(self.reserved_for)
            action = self._queued(queue) if queue.prestaged is None else self._prestaged_task(queue)
            if action is not None:
                return action
            if len(self.reserved_for) > reserved and not self._something_fits():
                return None
        return None

    def _something_fits(self) -> bool:
        """Mark the shapes that fit; whether there is one."""
        any_fits = False
        for shape in self._state.queue.shapes:
            shape.fits = self.available.fits(shape)
            any_fits = any_fits or shape.fits
        return any_fits

    def _queued(self, queue: SubQueue) -> Allocate | None:
        """Decide about the head of a sub-queue that is not prestaged."""
        if queue.shape.fits and (start := self._allocate(queue)) is not None:
            return start
        if self._has_waited(queue):
            self._reserve(queue)
        for _ in range(self._preemptors.get(queue, 0)):
            self._reserve(queue)
        return None

    def _prestaged_task(self, queue: SubQueue) -> Allocate | Discard | None:
        """Decide about a prestaged task."""
        task = self._state.tasks[queue.head.task_id]
        if task.cancel is not None:
            return None
        if isinstance(self._state.wait_state(task.id), Discarding):
            if held_back(task, self._now) is not None:
                return None
            if queue.shape.fits or self._has_waited(queue):
                self._reserve(queue)
            return None
        if self._can_start(task):
            return Allocate(task.id, task.gpu_uuids)
        if not self._closed(task).isdisjoint(task.gpu_uuids):
            return None  # It is about to be discarded.
        own = [uuid for uuid in task.gpu_uuids if self._is_free(uuid, queue.shape)]
        may_reserve = self._has_waited(queue) or queue in self._preemptors
        if all(u in own or u in self._state.gpus.settling for u in task.gpu_uuids):
            if may_reserve or self.available.has_cores(task.spec.resources):
                self._reserve(queue, own)
            return None
        if queue.shape.fits and (start := self._allocate(queue)) is not None:
            return Discard(task.id) if start.task_id == task.id else start
        if may_reserve:
            self._reserve(queue)
        return None

    def _allocate(self, queue: SubQueue) -> Allocate | None:
        """To the head of the sub-queue, or to a task that is prestaged on the GPU that the head
        would get; `None` if bookings keep all GPUs from it."""
        if self._state.bookings and queue.shape.resources.gpu:
            return self._allocate_open(queue)
        uuids = self.available.choose(queue.shape, shun=self._prestaged)
        return self._allocation(queue, uuids)

    def _allocate_open(self, queue: SubQueue) -> Allocate | None:
        """To the first task of the sub-queue that no booking keeps from the free GPUs: one with a
        time limit may end before."""
        state = self._state
        own = state.bookings.of_user(queue.user, self._now)
        shun = {uuid for uuid in self.available.gpus if own and uuid not in own}
        for number, entry in enumerate(state.queue.entries_of(queue)):
            closed = self._closed(state.tasks[entry.task_id])
            if self.available.fits(queue.shape, closed):
                shunned = shun or self._prestaged
                uuids = self.available.choose(queue.shape, shunned, closed)
                return Allocate(entry.task_id, uuids) if number else self._allocation(queue, uuids)
            self._visits -= 1
            if self._visits <= 0:
                break
        return None

    def _allocation(self, queue: SubQueue, uuids: tuple[str, ...]) -> Allocate:
        """The GPUs go to the head of the sub-queue, or to a task that is prestaged on them."""
        if self._may_be_passed(queue):
            for uuid in uuids:
                other = self._prestaged.get(uuid)
                if other is None or other == queue.prestaged:
                    continue
                task = self._state.tasks[other]
                if task.spec.priority == queue.priority and self._can_start(task):
                    return Allocate(other, task.gpu_uuids)
        return Allocate(queue.head.task_id, uuids)

    def _may_be_passed(self, queue: SubQueue) -> bool:
        """By a task that is prestaged where this one is not. A task that is not prestaged is either
        the next to be, or never is."""
        head = queue.head.task_id
        wait_state = self._state.wait_state(head)
        if wait_state.protected or not may_be_prestaged(self._state.tasks[head]):
            return False
        if isinstance(wait_state, PRESTAGED):
            return self._now - wait_state.since < self._state.limits.reserve_after_ms
        return queue.shape.resources.gpu == 1 or not self._has_waited(queue)

    def _can_start(self, task: Task) -> bool:
        """Whether the resources that a prestaged task waits for are free."""
        queue = self._state.queue.queue_of(task.id)
        shape = None if queue is None else queue.shape
        slots, left = self._state.slots_left(task.user), self._state.quota_left(task.user)
        return (
            self.available.has_cores(task.spec.resources)
            and all(self._is_free(uuid, shape) for uuid in task.gpu_uuids)
            and self._closed(task).isdisjoint(task.gpu_uuids)
            and (left is None or len(task.gpu_uuids) <= left)
            and (slots is None or slots > 0)
        )

    def _is_free(self, uuid: str, shape: Shape | None) -> bool:
        job = None if shape is None else shape.job
        return uuid in self.available.gpus and self.available.has_room(uuid, job)

    def _closed(self, task: Task) -> frozenset[str]:
        return self._state.bookings.closed_to_task(task, self._now)

    def _usable(self, closed: frozenset[str]) -> int:
        return sum(uuid not in closed for uuid in self._state.gpus.usable())

    def _has_waited(self, queue: SubQueue) -> bool:
        return self._now - queue.head.ready_at >= self._state.limits.reserve_after_ms

    def _reserve(self, queue: SubQueue, uuids: Collection[str] | None = None) -> None:
        """`uuids`: only these GPUs; `None`: as many as the head requests. A task that bookings keep
        from starting, whatever else is free, has no backfill reservation: it would keep cores and
        memory from others for as long as the booking lasts."""
        if uuids is None:
            closed = self._closed(self._state.tasks[queue.head.task_id])
            if closed and self._usable(closed) < queue.shape.resources.gpu:
                return
            uuids = self.available.choose_to_reserve(queue.shape, closed)
        if self.available.reserve(queue.head.task_id, queue.shape, uuids):
            self.reserved_for.append(queue.head.task_id)


def _by_gpu(prestaged: Iterable[Task]) -> dict[str, str]:
    """Ids of prestaged tasks by the UUIDs of the GPUs that they are prestaged for."""
    return {uuid: task.id for task in prestaged for uuid in task.gpu_uuids}


def over_quota(state: State, queue: SubQueue, *, more_slots: int = 0, more_gpus: int = 0) -> bool:
    """Whether its user's quotas keep the head of a sub-queue from starting.

    `more_slots`, `more_gpus`: what the user is about to get beside what its tasks hold.
    """
    slots = state.slots_left(queue.user)
    if slots is not None and slots <= more_slots:
        return True
    return state.is_over_gpu_quota(queue.user, queue.shape.resources.gpu, more=more_gpus)


def preemptors(state: State) -> Counter[SubQueue]:
    """Sub-queues of the tasks that others are being preempted for, and how many are in each."""
    queues: Counter[SubQueue] = Counter()
    if not state.limits.preemption:
        return queues
    halts = (state.tasks[task_id].halt for task_id in state.held)
    for task_id in {h.by for h in halts if h is not None and h.cause is HaltCause.PREEMPTED}:
        queue = state.queue.queue_of(task_id) if task_id is not None else None
        if queue is not None:
            queues[queue] += 1
    return queues
