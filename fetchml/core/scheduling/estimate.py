"""Estimates of when waiting tasks start: a simulation of the queue.

Run times come from the host's own history of similar tasks, as quantiles. The queue is simulated
once with their means, and the variances of the work before a task give the spread of its start.

The simulation is coarse where that hardly matters: tasks with the same number of GPUs form one
line, GPUs are alike and only counted, no new task comes, none fails, and none is preempted. GPUs of
a booking count as taken until it ends, from now on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from math import exp, log, sqrt
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.core.model import Resources, Status, Task
from fetchml.core.scheduling.resources import fits
from fetchml.core.scheduling.scheduler import ShareLevels
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
    """Cores, memory, GPU slots and task slots that `running` leaves free."""
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


Z90 = 1.2816
"""Standard deviations above the mean below which 90 % of a normal distribution lie."""
UNKNOWN_MS = tuple(minutes * 60_000 for minutes in (1, 2, 5, 10, 20, 40, 90, 180, 360, 720))
"""Quantiles for a host without any history."""


class Estimate(NamedTuple):
    """Median and 90th percentile of the start, in ms since the epoch."""

    p50: int
    p90: int


class Calibration(NamedTuple):
    """The accuracy of estimates: counts of started tasks that had one."""

    tasks: int = 0
    by_p50: int = 0
    by_p90: int = 0

    def plus(self, estimate: Estimate, started_at: int) -> "Calibration":
        return Calibration(
            self.tasks + 1,
            self.by_p50 + (started_at <= estimate.p50),
            self.by_p90 + (started_at <= estimate.p90),
        )

    @property
    def held(self) -> tuple[float, float] | None:
        """Fractions of the tasks that started by their p50 and by their p90; ideal are 0.5 and 0.9.
        `None` if no task has started yet."""
        if not self.tasks:
            return None
        return self.by_p50 / self.tasks, self.by_p90 / self.tasks


def estimate(state: State, now: int, durations: Callable[[Task], Durations]) -> dict[str, Estimate]:
    """Estimate the start of every ready task. A task that can't start on the host as it is now (too
    few usable GPUs, its user's quota) has no estimate."""
    return _estimate(state, now, durations, until=None)


def estimate_one(
    state: State, now: int, durations: Callable[[Task], Durations], task_id: str
) -> Estimate | None:
    """Estimate the start of one task: simulates the queue up to this task only."""
    return _estimate(state, now, durations, until=task_id).get(task_id)


def _estimate(
    state: State, now: int, durations: Callable[[Task], Durations], until: str | None
) -> dict[str, Estimate]:
    queue = list(_queue(state, now, durations, until))
    booked = booked_until(state, now)
    left: list[Durations] = []
    running: list[Running] = []
    for task_id, resources in state.held.items():
        task = state.tasks[task_id]
        if task.status is not Status.COLLECTING:
            left.append(quantiles := _left(task, now, durations(task)))
            ends_at = now + _moments(quantiles)[0]
            counted = _as_counted(state, task, resources)
            if booked and task.gpu_uuids:
                free = sum(uuid not in booked for uuid in task.gpu_uuids)
                counted = replace(counted, gpu=counted.gpu * free // len(task.gpu_uuids))
            running.append(Running(ends_at, counted))
    quantiles_by_id = {id(waiting.quantiles): waiting.quantiles for waiting in queue}
    moments = {key: _moments(quantiles) for key, quantiles in quantiles_by_id.items()}
    runs = [moments[id(waiting.quantiles)][0] for waiting in queue]
    variances = [moments[id(waiting.quantiles)][1] for waiting in queue]
    starts = simulate(state, now, running, booked.values(), queue, runs)
    at_work = sum(_moments(quantiles)[1] for quantiles in left)
    return _with_spread(state, now, queue, starts, at_work, variances)


def _queue(
    state: State, now: int, durations: Callable[[Task], Durations], until: str | None
) -> Iterator[Waiting]:
    """Yield the ready tasks that can start, in order, up to the task `until`.

    Tasks for GPUs of users with a booking are left out: they go past the others on its GPUs."""
    most = Resources(
        state.limits.capacity.cpu, state.limits.capacity.memory_gb, len(state.gpus.usable())
    )
    if state.limits.user_gpus:
        most = replace(most, gpu=min(most.gpu, state.limits.user_gpus))
    can_start = {shape: fits(shape.resources, most) for shape in state.queue.shapes}
    tasks = state.tasks
    for queue, entry in state.queue.entries(ShareLevels(state, now)):
        shape = queue.shape
        task = tasks[entry.task_id]
        if can_start[shape] and not (shape.resources.gpu and task.user in state.bookings.users):
            wanted = _as_counted(state, task, shape.resources)
            yield Waiting(
                wanted.cpu,
                wanted.memory_gb,
                wanted.gpu,
                entry.ready_at,
                durations(task),
                task.id,
            )
        if entry.task_id == until:
            return


def _as_counted(state: State, task: Task, wanted: Resources) -> Resources:
    """Return the resources that a task takes up in the simulation. With packing it may take up
    several slots of a GPU."""
    if state.packing is None or not wanted.gpu:
        return wanted
    gpus, slots = state.gpus.inventory.values(), state.gpus.slots_per_gpu
    return replace(wanted, gpu=wanted.gpu * state.packing.slots(task, gpus, slots))


def _with_spread(
    state: State,
    now: int,
    queue: Sequence[Waiting],
    starts: Sequence[int | None],
    work: float,
    variances: Sequence[float],
) -> dict[str, Estimate]:
    """Turn the starts that were simulated with means into estimates, with a log-normal spread.

    The spread is that of the work before a task, divided by the GPUs (or by what else limits how
    many tasks run). `work`: variance of the remaining run times of running tasks.
    """
    servers = len(state.gpus.usable()) * state.gpus.slots_per_gpu or state.limits.max_running
    estimates = {}
    for waiting, start, variance in zip(queue, starts, variances, strict=True):
        if start is not None:
            wait = max(1, start - now)
            spread = log(1 + work / (servers * wait) ** 2)
            p50 = wait / exp(spread / 2)
            p90 = p50 * exp(Z90 * sqrt(spread))
            estimates[waiting.task_id] = Estimate(now + int(p50), now + int(p90))
        work += variance * waiting.gpu**2 if waiting.gpu else variance
    return estimates


def _left(task: Task, now: int, quantiles: Durations) -> Durations:
    """Quantiles of a running task's remaining time: those of runs that took longer than it has
    taken so far. If it has run longer than all of them, it is assumed to be half done."""
    elapsed = max(0, now - task.started_at) if task.started_at is not None else 0
    left = [quantile - elapsed for quantile in quantiles if quantile > elapsed] or [elapsed]
    limit = task.spec.timeout_seconds * 1000
    return [min(rest, max(0, limit - elapsed)) for rest in left] if limit else left


def _moments(quantiles: Durations) -> tuple[int, float]:
    """Mean and variance."""
    mean = sum(quantiles) / len(quantiles)
    return int(mean), sum((quantile - mean) ** 2 for quantile in quantiles) / len(quantiles)
