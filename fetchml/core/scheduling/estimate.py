"""Estimates of when waiting tasks start: a simulation of the queue.

Run times come from the host's own history of similar tasks, as quantiles. The queue is simulated
once with their means, and the variances of the work before a task give the spread of its start.
`core.scheduling.simulation` lists what the simulation leaves out.
"""

from collections.abc import Callable, Iterator, Sequence
from math import exp, log, sqrt
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.core.model import Resources, Status, Task
from fetchml.core.scheduling.resources import fits
from fetchml.core.scheduling.scheduler import ShareLevels
from fetchml.core.scheduling.simulation import Durations, Running, Waiting, booked_until, simulate
from fetchml.core.state import State

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
    known = {id(waiting.quantiles): waiting.quantiles for waiting in queue}
    moments = {key: _moments(quantiles) for key, quantiles in known.items()}
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
    gpus, slots = state.gpus.known.values(), state.gpus.slots_per_gpu
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
