"""Which waiting task starts next, and on which GPUs.

The more urgent first, among equals those whose user had less of the box lately, then the oldest.
A smaller task may pass a larger one that is blocked (backfill), until the blocked one has waited
`reserve_after`: from then on what becomes free is kept for it, as much as it asks for and no more,
so nobody starves. Who waits because of the owner's quota keeps nothing.

A task made ready ahead for the GPU that becomes free starts at once: it goes before another of its
priority whose turn it is but that was made ready for another GPU, until that one has been passed
like this for `reserve_after`.
"""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from fetchml.core.model import HaltCause, Task
from fetchml.core.scheduling.availability import Availability
from fetchml.core.scheduling.ready_queue import SubQueue
from fetchml.core.state import State
from fetchml.core.waiting import PRESTAGED, Discarding, may_be_prestaged


class Allocate(NamedTuple):
    """It can have its resources now."""

    task_id: str
    gpu_uuids: tuple[str, ...]


class Discard(NamedTuple):
    """It was made ready for other GPUs than those that are free for it now."""

    task_id: str


class ShareLevels:
    """Each user's place in the order, looked up once in a decision."""

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


class SchedulingPass:
    """One look along the queue for somebody who can start."""

    def __init__(self, state: State, now: int, level: ShareLevels) -> None:
        self.room = Availability(state)
        self.reserved_for: list[str] = []
        """Tasks for which something free is kept."""
        self._state = state
        self._now = now
        self._level = level
        self._places = state.prestaged_by_gpu() if state.wait_states else {}
        self._way_is_made_for = preemptors(state)

    def next(self, until: SubQueue | None = None) -> Allocate | Discard | None:
        """`until`: a line where the walk ends."""
        state = self._state
        if not state.may_start or self.room.slots <= 0 or not self._something_fits():
            return None
        for line in state.queue.in_order(self._level):
            if line is until:
                return None
            if over_quota(state, line):
                continue
            kept = len(self.reserved_for)
            action = self._queued(line) if line.ahead is None else self._ahead(line)
            if action is not None:
                return action
            if len(self.reserved_for) > kept and not self._something_fits():
                return None
        return None

    def _something_fits(self) -> bool:
        """Marks the shapes that fit."""
        found = False
        for shape in self._state.queue.shapes:
            shape.fits = self.room.fits(shape)
            found = found or shape.fits
        return found

    def _queued(self, line: SubQueue) -> Allocate | None:
        if line.shape.fits:
            return self._give(line)
        if self._has_waited(line):
            self._keep(line)
        for _ in range(self._way_is_made_for.get(line, 0)):
            self._keep(line)
        return None

    def _ahead(self, line: SubQueue) -> Allocate | Discard | None:
        task = self._state.tasks[line.head.task_id]
        if task.cancel is not None:
            return None
        if isinstance(self._state.wait_state(task.id), Discarding):
            if line.shape.fits or self._has_waited(line):
                self._keep(line)
            return None
        if self._can_start(task):
            return Allocate(task.id, task.gpu_uuids)
        mine = [uuid for uuid in task.gpu_uuids if uuid in self.room.gpus]
        waits = self._has_waited(line) or line in self._way_is_made_for
        if all(u in mine or u in self._state.gpus.settling for u in task.gpu_uuids):
            if waits or self.room.has_cores(task.spec.resources):
                self._keep(line, mine)
            return None
        if line.shape.fits:
            start = self._give(line)
            return Discard(task.id) if start.task_id == task.id else start
        if waits:
            self._keep(line)
        return None

    def _give(self, line: SubQueue) -> Allocate:
        """To the head of the line, or to one that was made ready on the GPU that it would get."""
        uuids = self.room.choose(line.shape, shun=self._places)
        if self._may_be_passed(line):
            for uuid in uuids:
                other = self._places.get(uuid)
                if other is None or other == line.ahead:
                    continue
                task = self._state.tasks[other]
                if task.spec.priority == line.priority and self._can_start(task):
                    return Allocate(other, task.gpu_uuids)
        return Allocate(line.head.task_id, uuids)

    def _may_be_passed(self, line: SubQueue) -> bool:
        """By one that is ready where this one is not. One that is not ahead yet is the next to be,
        or never is."""
        head = line.head.task_id
        wait_state = self._state.wait_state(head)
        if wait_state.protected or not may_be_prestaged(self._state.tasks[head]):
            return False
        if isinstance(wait_state, PRESTAGED):
            return self._now - wait_state.since < self._state.limits.reserve_after_ms
        return line.shape.resources.gpu == 1 or not self._has_waited(line)

    def _can_start(self, task: Task) -> bool:
        """A task made ready ahead: what it waits for is free."""
        slots, left = self._state.slots_left(task.user), self._state.quota_left(task.user)
        return (
            self.room.has_cores(task.spec.resources)
            and all(uuid in self.room.gpus for uuid in task.gpu_uuids)
            and (left is None or len(task.gpu_uuids) <= left)
            and (slots is None or slots > 0)
        )

    def _has_waited(self, line: SubQueue) -> bool:
        return self._now - line.head.ready_at >= self._state.limits.reserve_after_ms

    def _keep(self, line: SubQueue, uuids: Collection[str] | None = None) -> None:
        """`uuids`: only these; None: as many GPUs as it asks for."""
        if uuids is None:
            uuids = self.room.choose(line.shape)
        if self.room.keep(line.shape.resources, uuids):
            self.reserved_for.append(line.head.task_id)


def over_quota(state: State, line: SubQueue, *, more_slots: int = 0, more_gpus: int = 0) -> bool:
    """Whether the owner's quotas keep the head of the line from starting. `more_slots` and
    `more_gpus`: what its user is about to get beside what it holds."""
    slots, left = state.slots_left(line.user), state.quota_left(line.user)
    if slots is not None and slots <= more_slots:
        return True
    return left is not None and 0 < line.shape.resources.gpu > left - more_gpus


def preemptors(state: State) -> Counter[SubQueue]:
    """The lines in which tasks stand that others are being stopped for, and how many."""
    lines: Counter[SubQueue] = Counter()
    if not state.limits.preemption:
        return lines
    halts = (state.tasks[task_id].halt for task_id in state.held)
    for task_id in {h.by for h in halts if h is not None and h.cause is HaltCause.PREEMPTED}:
        line = state.queue.queue_of(task_id) if task_id is not None else None
        if line is not None:
            lines[line] += 1
    return lines
