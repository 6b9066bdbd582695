"""Which tasks are prestaged: prepared while they wait, and for which GPUs.

Prestaged are the tasks that would start next: one for each GPU that a task holds, and a few that
request no GPU. They hold nothing. A more urgent task takes the place of a less urgent one, whose
attempt is discarded, as is one that was prestaged for a GPU that can't be used. A task whose
attempts were discarded MAX_DISCARDS times is not prestaged again; the task behind it in its
sub-queue is prestaged instead.
"""

from collections.abc import Collection
from itertools import islice
from typing import NamedTuple

from fetchml.core.model import Task
from fetchml.core.scheduling.ready_queue import SubQueue
from fetchml.core.scheduling.scheduler import ShareLevels, over_quota
from fetchml.core.scheduling.waiting import may_be_prestaged
from fetchml.core.state import State

LOOKED_AT = 64
"""Sub-queues that one decision considers, in addition to those of prestaged tasks."""


class PrestagePlan(NamedTuple):
    """The next task to prestage."""

    task: Task
    gpu_uuids: tuple[str, ...]
    """GPUs that it is prestaged for; empty if it requests none."""
    instead_of: list[Task]
    """Prestaged tasks to discard for it."""


def misplaced(state: State, now: int) -> list[Task]:
    """Prestaged tasks to discard: those whose GPU can't be used or is booked, and after a restart
    those whose place another task has, since it is not stored which attempts were being
    discarded."""
    tasks: list[Task] = []
    if state.limits.cluster is not None:
        return tasks  # What waits there was handed over: this runs with every event.
    taken: set[str] = set()
    without = 0
    for task in sorted(
        state.prestaged(), key=lambda task: (-task.spec.priority, task.created_at, task.id)
    ):
        without += not task.gpu_uuids
        if (
            not taken.isdisjoint(task.gpu_uuids)
            or (not task.gpu_uuids and without > state.limits.max_prestaged)
            or (
                state.gpus.is_reported
                and any(state.gpus.obstacle(uuid) is not None for uuid in task.gpu_uuids)
            )
            or not state.bookings.closed_to_task(task, now).isdisjoint(task.gpu_uuids)
        ):
            tasks.append(task)
        else:
            taken.update(task.gpu_uuids)
    return tasks


def next_plan(state: State, now: int, level: ShareLevels) -> PrestagePlan | None:
    """The next task to prestage; `None` if every place is taken or no task qualifies."""
    if not state.limits.prestage:
        return None
    staying = state.prestaged()
    slots: dict[str, int] = {}
    if state.gpus.inventory:
        taken = {uuid for task in staying for uuid in task.gpu_uuids}
        slots = {uuid: 1 for uuid in state.gpus.usable() if uuid not in taken}
    lowest = 0
    if not slots and _without_gpus(staying) >= state.limits.max_prestaged:
        # Every slot is taken: only a task that is more urgent than a prestaged one gets one.
        if not staying:
            return None
        lowest = 1 + min([task.spec.priority for task in staying])
        if lowest > state.queue.highest:
            return None
    enough = LOOKED_AT + len(state.wait_states)
    for queue in islice(state.queue.sub_queues(level, lowest), enough):
        if queue.prestaged is not None or over_quota(state, queue):
            continue
        first = _first_of(state, queue)
        if first is None:
            continue
        open_slots = slots
        if closed := state.bookings.closed_to_task(first, now):
            open_slots = {uuid: 1 for uuid in slots if uuid not in closed}
        plan = _slot_of(state, first, queue, open_slots, staying, closed)
        if plan is not None:
            return plan
    return None


def _first_of(state: State, queue: SubQueue) -> Task | None:
    """The first task of a sub-queue that may be prestaged. All of them need the same."""
    head = state.tasks[queue.head.task_id]
    if may_be_prestaged(head):
        return head
    entries = islice(state.queue.entries_of(queue), LOOKED_AT)
    tasks = (state.tasks[entry.task_id] for entry in entries)
    return next(filter(may_be_prestaged, tasks), None)


def _slot_of(
    state: State,
    task: Task,
    queue: SubQueue,
    slots: dict[str, int],
    staying: list[Task],
    closed: Collection[str],
) -> PrestagePlan | None:
    """`closed`: GPUs that bookings keep from the task."""
    less_urgent = [other for other in staying if other.spec.priority < queue.priority]
    less_urgent.sort(key=lambda other: (other.spec.priority, -other.created_at, other.id))
    count = queue.shape.resources.gpu
    if not count:
        if _without_gpus(staying) < state.limits.max_prestaged:
            return PrestagePlan(task, (), [])
        instead = [other for other in less_urgent if not other.gpu_uuids][:1]
        return PrestagePlan(task, (), instead) if instead else None
    avoid = state.gpus.avoidable(queue.shape.avoid, count)
    if count == 1:
        slots = {uuid: 1 for uuid in slots if not _is_free(state, uuid)}
    instead = []
    rest = iter(
        [o for o in less_urgent if o.gpu_uuids and not any(u in closed for u in o.gpu_uuids)]
    )
    while True:
        chosen = state.gpus.choose(slots, count, state.limits.placement, avoid)
        if chosen is not None:
            needed = [other for other in instead if set(other.gpu_uuids) & set(chosen)]
            return PrestagePlan(task, chosen, needed)
        other = next(rest, None)
        if other is None:
            return None
        instead.append(other)
        usable = [uuid for uuid in other.gpu_uuids if state.gpus.obstacle(uuid) is None]
        slots = {**slots, **dict.fromkeys(usable, 1)}


def _without_gpus(tasks: list[Task]) -> int:
    count = 0
    for task in tasks:
        count += not task.gpu_uuids
    return count


def _is_free(state: State, uuid: str) -> bool:
    """Whether no task holds it. Then it is reserved, or the task waits for something else."""
    return uuid not in state.gpus.holders and uuid not in state.gpus.settling
