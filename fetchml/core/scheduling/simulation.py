"""A simulation of the queue, for estimates.

It is coarse where that hardly matters: tasks with the same number of GPUs form one line, GPUs are
alike and only counted, no new task comes, none fails, and none is preempted. GPUs of a booking
count as taken until it ends, from now on.
"""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from fetchml.core.model import Resources
from fetchml.core.state import State

Durations = Sequence[int]
"""Quantiles of a run time, in ms, evenly spaced (with ten: those of 5 %, 15 %, … 95 %), rising."""


class Waiting(NamedTuple):
    """A ready task."""

    cpu: int
    memory_gb: int
    gpu: int
    ready_at: int
    quantiles: Durations
    task_id: str


class Running(NamedTuple):
    """A task that holds its resources."""

    ends_at: int
    resources: Resources


def simulate(
    state: State,
    now: int,
    running: Sequence[Running],
    booked: Iterable[int],
    queue: Sequence[Waiting],
    runs: Sequence[int],
) -> list[int | None]:
    """Simulate the queue: the start of each task, `None` if it never starts.

    `running`: without slots of booked GPUs. `booked`: the ends of the bookings, one for each booked
    GPU. `runs`: run times of the tasks of `queue` in ms.

    Tasks with the same number of GPUs form one line. The first in order that fits starts; a task
    that has waited for `reserve_after` has a backfill reservation.
    """
    cpu, memory, gpu, slots = _free_at_first(state, running)
    by_gpus: dict[int, list[int]] = {}
    for index in range(len(queue) - 1, -1, -1):
        by_gpus.setdefault(queue[index].gpu, []).append(index)
    lines = list(by_gpus.values())
    lines.sort(key=_last)
    ends = [(each.ends_at, *_amounts(each.resources), 1) for each in running]
    for ends_at in booked:
        ends.append((ends_at, 0, 0, state.gpus.slots_per_gpu, 0))
        gpu -= state.gpus.slots_per_gpu
    heapify(ends)
    starts: list[int | None] = [None] * len(queue)
    reserve_after = state.limits.reserve_after_ms
    time = now
    while lines:
        cpu_left, memory_left, gpu_left = cpu, memory, gpu
        for line in lines if slots > 0 else ():
            index = line[-1]
            cores, gib, gpus, ready_at, *_ = queue[index]
            if gpus <= gpu_left and cores <= cpu_left and gib <= memory_left:
                starts[index] = time
                heappush(ends, (time + runs[index], cores, gib, gpus, 1))
                cpu, memory, gpu, slots = cpu - cores, memory - gib, gpu - gpus, slots - 1
                line.pop()
                if not line:
                    lines.remove(line)
                lines.sort(key=_last)
                break
            if time - ready_at >= reserve_after:
                cpu_left = cpu_left - cores if cpu_left > cores else 0
                memory_left = memory_left - gib if memory_left > gib else 0
                gpu_left = gpu_left - gpus if gpu_left > gpus else 0
        else:
            if not ends:
                return starts
            time, cores, gib, gpus, tasks = heappop(ends)
            cpu, memory, gpu, slots = cpu + cores, memory + gib, gpu + gpus, slots + tasks
    return starts


def _last(line: list[int]) -> int:
    return line[-1]


def _amounts(resources: Resources) -> tuple[int, int, int]:
    return resources.cpu, resources.memory_gb, resources.gpu


def _free_at_first(state: State, running: Sequence[Running]) -> tuple[int, int, int, int]:
    """Cores, memory, GPU slots and task slots that are free beside those of `running`."""
    capacity, pool = state.limits.capacity, state.gpus
    in_order = len(pool.usable()) * pool.slots_per_gpu
    return (
        capacity.cpu - sum(each.resources.cpu for each in running),
        capacity.memory_gb - sum(each.resources.memory_gb for each in running),
        in_order - sum(each.resources.gpu for each in running),
        state.limits.max_running - len(running),
    )


def booked_until(state: State, now: int) -> dict[str, int]:
    """Return the end of the last booking of each booked GPU, by UUID."""
    usable = frozenset(state.gpus.usable())
    ends: dict[str, int] = {}
    for booking in state.bookings.on(usable, now):
        for uuid in usable.intersection(booking.gpu_uuids):
            ends[uuid] = max(booking.ends_at, ends.get(uuid, 0))
    return ends
