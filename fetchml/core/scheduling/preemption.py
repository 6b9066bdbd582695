"""Which tasks are preempted: stopped so that a more urgent one can start.

Only tasks that declared themselves `preemptible` and have a lower priority; those that have run
least go first, and never more than are needed. If a task would not fit even then, none is stopped
for it.
"""

from collections import Counter
from collections.abc import Collection
from itertools import islice
from typing import NamedTuple

from fetchml.core.model import Status, Task
from fetchml.core.scheduling.ready_queue import SubQueue
from fetchml.core.scheduling.scheduler import Availability, ShareLevels, over_quota
from fetchml.core.scheduling.waiting import held_back
from fetchml.core.state import State

LOOKED_AT = 100
"""Waiting tasks that one decision considers."""


class Preemption(NamedTuple):
    task: Task
    """The preemptor, which gets the resources."""
    victims: list[Task]
    """Tasks to stop for it."""


def next_preemption(state: State, now: int, level: ShareLevels) -> Preemption | None:
    """The next preemption; `None` if none lets a more urgent task start."""
    victims = [state.tasks[task_id] for task_id in state.held if _may_be_stopped(state, task_id)]
    if not victims:
        return None
    victims.sort(key=lambda task: (-(task.started_at or now), task.id))
    lowest = min(task.spec.priority for task in victims)
    available = _as_it_will_be(state)
    slots, gpus = Counter[str](), Counter[str]()  # that go to tasks already considered
    for queue, entry in islice(state.queue.first_entries(level, lowest + 1), LOOKED_AT):
        user = queue.user
        if over_quota(state, queue, more_slots=slots[user], more_gpus=gpus[user]):
            continue
        task = state.tasks[entry.task_id]
        if task.cancel is not None or (task.prestaged and held_back(task, now) is not None):
            continue
        closed = state.bookings.closed_to_task(task, now)
        if not _fits(available, queue, closed):
            less_urgent = [v for v in victims if v.spec.priority < queue.priority]
            chosen = _needed(available, queue, less_urgent, closed)
            if chosen:
                return Preemption(task, chosen)
        else:
            available.slots -= 1
            uuids = available.choose(queue.shape, closed=closed)
            available.reserve(task.id, queue.shape, uuids)
            slots[user] += 1
            gpus[user] += queue.shape.resources.gpu
    return None


def _may_be_stopped(state: State, task_id: str) -> bool:
    task = state.tasks[task_id]
    return task.spec.preemptible and _goes_on(task) and task.status is not Status.COLLECTING


def _goes_on(task: Task) -> bool:
    """Whether the task is not being stopped."""
    return task.cancel is None and task.halt is None


def _as_it_will_be(state: State) -> Availability:
    """Return the resources that will be available once all tasks that are being stopped have ended
    and the GPUs that are being checked have passed."""
    available = Availability(state)
    for uuid in state.gpus.settling:
        if state.gpus.obstacle(uuid) is None:
            available.gpus[uuid] = state.gpus.slots_per_gpu
    for task_id in state.held:
        task = state.tasks[task_id]
        if task.status is Status.COLLECTING:
            available.slots += 1
        elif not _goes_on(task):
            available.slots += 1
            available.release(task)
    return available


def _fits(available: Availability, queue: SubQueue, closed: Collection[str]) -> bool:
    return available.slots > 0 and available.fits(queue.shape, closed)


def _needed(
    available: Availability, queue: SubQueue, victims: list[Task], closed: Collection[str]
) -> list[Task]:
    """As few of the first of `victims` as make the sub-queue's head fit; empty if all of them do
    not suffice. `closed`: GPUs that bookings keep from it."""

    def fits_after(stopped: list[Task]) -> bool:
        then = available.copy()
        for task in stopped:
            then.slots += 1
            then.release(task)
        return _fits(then, queue, closed)

    chosen: list[Task] = []
    while victims[len(chosen) :] and not fits_after(chosen):
        chosen.append(victims[len(chosen)])
    if not fits_after(chosen):
        return []
    for victim in reversed(chosen):
        others = [task for task in chosen if task is not victim]
        if fits_after(others):
            chosen = others
    return chosen
