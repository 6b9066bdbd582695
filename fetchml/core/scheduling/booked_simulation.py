"""The simulation of the queue on a host with bookings, which follows each GPU.

Whether a task may start on a GPU depends on its user, its time limit and the time
(`core.bookings.closed_gpus`). So tasks with the same number of GPUs form several lines: one for
each user with a booking and one for all others, each of them by the rough length of the time limit.
Their number is bounded, so that nobody makes estimates slow by submitting many different tasks.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from fetchml.core.model import Resources
from fetchml.core.scheduling.simulation import Running, Waiting
from fetchml.core.state import State

MOST_USERS = 4
"""Users with bookings that have lines of their own; if there are more, all of them share theirs."""
LENGTHS_SECONDS = (0, 1_800, 14_400)
"""Time limits up to which tasks are in one line."""


class _End(NamedTuple):
    """A task or a booking ends."""

    at: int
    number: int
    """Makes two ends comparable."""
    resources: Resources
    gpu_uuids: tuple[str, ...]
    slots: int
    """1 for a task, 0 for a booking."""


class _Host:
    """Resources that are free at a moment of the simulation."""

    def __init__(self, state: State, running: Sequence[Running]) -> None:
        pool, capacity = state.gpus, state.limits.capacity
        self._bookings = state.bookings
        self._closed: dict[tuple[str, int], frozenset[str]] = {}
        """By user and time limit, at the time `_closed_at`."""
        self._closed_at = -1
        self.usable = dict.fromkeys(pool.usable(), pool.slots_per_gpu)
        self.gpus = dict(self.usable)
        """Free slots by UUID; none is 0."""
        self.cpu, self.memory_gb = capacity.cpu, capacity.memory_gb
        self.slots = state.limits.max_running
        for each in running:
            self.take(each.resources, each.gpu_uuids)

    def take(self, resources: Resources, uuids: Collection[str]) -> None:
        self.cpu -= resources.cpu
        self.memory_gb -= resources.memory_gb
        self.slots -= 1
        for uuid in uuids:
            left = self.gpus.get(uuid, 0) - 1
            if left > 0:
                self.gpus[uuid] = left
            else:
                self.gpus.pop(uuid, None)

    def release(self, end: _End) -> None:
        self.cpu += end.resources.cpu
        self.memory_gb += end.resources.memory_gb
        self.slots += end.slots
        for uuid in end.gpu_uuids:
            if uuid in self.usable:
                self.gpus[uuid] = min(self.usable[uuid], self.gpus.get(uuid, 0) + 1)

    def closed_to(self, task: Waiting, time: int) -> frozenset[str]:
        """UUIDs of GPUs that bookings keep from a task."""
        if time != self._closed_at:
            self._closed, self._closed_at = {}, time
        key = task.user, task.timeout_seconds
        found = self._closed.get(key)
        if found is None:
            found = self._closed[key] = self._bookings.closed_to(*key, time)
        return found


def simulate(
    state: State,
    now: int,
    running: Sequence[Running],
    queue: Sequence[Waiting],
    runs: Sequence[int],
) -> list[int | None]:
    """Simulate the queue: the start of each task, `None` if it never starts. `runs`: the run times
    of the waiting tasks."""
    host = _Host(state, running)
    lines = _lines(state, queue)
    edges = [(each.ends_at, each.resources, each.gpu_uuids, 1) for each in running]
    edges += [(time, Resources(), (), 0) for time in state.bookings.ends(now)]
    ends = [_End(edge[0], number, *edge[1:]) for number, edge in enumerate(edges)]
    heapify(ends)
    starts: list[int | None] = [None] * len(queue)
    time = now
    while lines:
        found = _first_that_fits(state, host, lines, queue, time)
        if found is not None:
            line, uuids = found
            index = line.pop()
            starts[index] = time
            task = queue[index]
            resources = Resources(task.cpu, task.memory_gb, task.gpu)
            host.take(resources, uuids)
            heappush(ends, _End(time + runs[index], len(edges) + index, resources, uuids, 1))
            if not line:
                lines.remove(line)
            lines.sort(key=_last)
        elif ends:
            end = heappop(ends)
            time = max(time, end.at)
            host.release(end)
        else:
            break
    return starts


def _first_that_fits(
    state: State, host: _Host, lines: list[list[int]], queue: Sequence[Waiting], time: int
) -> tuple[list[int], tuple[str, ...]] | None:
    """Return the line whose first task starts now, and its GPUs."""
    if host.slots <= 0:
        return None
    cpu, memory_gb, gpus = host.cpu, host.memory_gb, host.gpus
    for line in lines:
        task = queue[line[-1]]
        closed = host.closed_to(task, time) if task.gpu else ()
        if task.cpu <= cpu and task.memory_gb <= memory_gb and task.gpu <= len(gpus):
            open_to_it = [uuid for uuid in gpus if uuid not in closed]
            if task.gpu <= len(open_to_it):
                return line, _chosen(state, task, open_to_it, time)
        if time - task.ready_at < state.limits.reserve_after_ms:
            continue
        if closed and sum(uuid not in closed for uuid in host.usable) < task.gpu:
            continue  # Only a booking's end helps it: nothing is reserved.
        cpu, memory_gb = max(0, cpu - task.cpu), max(0, memory_gb - task.memory_gb)
        kept = [uuid for uuid in gpus if uuid not in closed][: task.gpu]
        gpus = {uuid: slots - (uuid in kept) for uuid, slots in gpus.items()}
        gpus = {uuid: slots for uuid, slots in gpus.items() if slots}
    return None


def _chosen(state: State, task: Waiting, uuids: list[str], time: int) -> tuple[str, ...]:
    """The GPUs for a task, those of its user's own booking first."""
    if not task.gpu:
        return ()
    own = state.bookings.of_user(task.user, time)
    if own:
        uuids.sort(key=lambda uuid: uuid not in own)
    return tuple(uuids[: task.gpu])


def _lines(state: State, queue: Sequence[Waiting]) -> list[list[int]]:
    """Places in `queue` by kind of task, each line with its first task last."""
    users = state.bookings.users
    found: dict[tuple[int, str, int], list[int]] = {}
    for index in range(len(queue) - 1, -1, -1):
        task = queue[index]
        kind = (0, "", 0)
        if task.gpu:
            user = task.user if task.user in users else ""
            if len(users) > MOST_USERS:
                user = "booked" if user else ""
            kind = (task.gpu, user, bisect_left(LENGTHS_SECONDS, task.timeout_seconds))
        found.setdefault(kind, []).append(index)
    lines = list(found.values())
    lines.sort(key=_last)
    return lines


def _last(line: list[int]) -> int:
    return line[-1]
