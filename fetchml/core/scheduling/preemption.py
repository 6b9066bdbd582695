"""Which tasks are stopped so that a more urgent one can start.

Only those that said of themselves that they are `preemptible`, of lower priority; those that have
run least go first, and never more than are needed. For a task that would not fit all the same,
nobody is stopped.
"""

from collections import Counter
from itertools import islice
from typing import NamedTuple

from fetchml.core.model import Status, Task
from fetchml.core.scheduling.availability import Availability
from fetchml.core.scheduling.ready_queue import SubQueue
from fetchml.core.scheduling.scheduler import ShareLevels, over_quota
from fetchml.core.state import State

LOOKED_AT = 100
"""Waiting tasks that one decision looks at."""


class Preemption(NamedTuple):
    task: Task
    """Who gets their place."""
    victims: list[Task]


def next_preemption(state: State, now: int, level: ShareLevels) -> Preemption | None:
    victims = [state.tasks[task_id] for task_id in state.held if _may_be_stopped(state, task_id)]
    if not victims:
        return None
    victims.sort(key=lambda task: (-(task.started_at or now), task.id))
    lowest = min(task.spec.priority for task in victims)
    room = _as_it_will_be(state)
    slots, gpus = Counter[str](), Counter[str]()  # that go to the tasks looked at so far
    for line, turn in islice(state.queue.first_entries(level, lowest + 1), LOOKED_AT):
        user = line.user
        if over_quota(state, line, more_slots=slots[user], more_gpus=gpus[user]):
            continue
        if state.tasks[turn.task_id].cancel is not None:
            continue
        if not _fits(room, line):
            less_urgent = [v for v in victims if v.spec.priority < line.priority]
            chosen = _needed(room, line, less_urgent)
            if chosen:
                return Preemption(state.tasks[turn.task_id], chosen)
        else:
            room.slots -= 1
            room.keep(line.shape.resources, room.choose(line.shape))
            slots[user] += 1
            gpus[user] += line.shape.resources.gpu
    return None


def _may_be_stopped(state: State, task_id: str) -> bool:
    task = state.tasks[task_id]
    return task.spec.preemptible and _goes_on(task) and task.status is not Status.COLLECTING


def _goes_on(task: Task) -> bool:
    """Nobody has asked it to end yet."""
    return task.cancel is None and task.halt is None


def _as_it_will_be(state: State) -> Availability:
    """When all that ends by now has ended, and the GPUs given back were looked at."""
    room = Availability(state)
    for uuid in state.gpus.settling:
        if state.gpus.obstacle(uuid) is None:
            room.gpus[uuid] = state.gpus.slots_per_gpu
    for task_id in state.held:
        task = state.tasks[task_id]
        if task.status is Status.COLLECTING:
            room.slots += 1
        elif not _goes_on(task):
            room.slots += 1
            room.give_back(task)
    return room


def _fits(room: Availability, line: SubQueue) -> bool:
    return room.slots > 0 and room.fits(line.shape)


def _needed(room: Availability, line: SubQueue, victims: list[Task]) -> list[Task]:
    """The fewest of the first of `victims` that make it fit; empty: it does not fit with all."""
    chosen: list[Task] = []
    while victims[len(chosen) :] and not _fits_after(room, line, chosen):
        chosen.append(victims[len(chosen)])
    if not _fits_after(room, line, chosen):
        return []
    for victim in reversed(chosen):
        others = [task for task in chosen if task is not victim]
        if _fits_after(room, line, others):
            chosen = others
    return chosen


def _fits_after(room: Availability, line: SubQueue, stopped: list[Task]) -> bool:
    room = room.copy()
    for task in stopped:
        room.slots += 1
        room.give_back(task)
    return _fits(room, line)
