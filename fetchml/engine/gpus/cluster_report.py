"""The report of a cluster to clients: its nodes, and their GPUs by the cluster's numbers."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from fetchml.attempts.hosts import TaskHost
from fetchml.core.gpus.allocator import Gpu
from fetchml.core.gpus.health import GpuReading
from fetchml.core.model import Status, Task
from fetchml.engine.gpus.report import GpuCondition, GpuReport, GpuStatus, NodeStatus
from fetchml.ports.cluster import Node

_RUNS = (Status.PREPARING, Status.RUNNING)


def with_gpus(held: Iterable[Task]) -> dict[tuple[str, int], Task]:
    """Return the tasks that run with GPUs, by id and attempt."""
    return {
        (task.id, task.attempt): task
        for task in held
        if task.gpu_uuids and task.status is Status.RUNNING
    }


def node_readings(host: TaskHost, held: Iterable[Task]) -> dict[str, GpuReading]:
    """Return what is measured of the GPUs of tasks that run, by the GPUs' names. A task may have
    forged what it reports: of other GPUs than its own nothing is believed."""
    tasks = with_gpus(held)
    readings: dict[str, GpuReading] = {}
    for key, found in host.gpu_readings(tasks).items():
        for reading in found.gpus:
            if reading.uuid in tasks[key].gpu_uuids:
                readings.setdefault(reading.uuid, reading)
    return readings


def cluster_report(
    nodes: Sequence[Node],
    held: Iterable[Task],
    may_see: Callable[[Task], bool],
    readings: Mapping[str, GpuReading] | None = None,
) -> GpuReport:
    """All nodes, and their GPUs in the order of the nodes. `held`: the tasks that have started.
    `readings`: see `node_readings`."""
    readings = readings or {}
    tasks = defaultdict[str, list[Task]](list)
    for task in held:
        if task.worker_id is not None and task.status in _RUNS:
            tasks[task.worker_id].append(task)
    statuses: list[GpuStatus] = []
    shown = []
    for node in nodes:
        here = tasks.get(node.name, [])
        visible = tuple(task.id for task in here if may_see(task))
        shown.append(NodeStatus(node, visible))
        statuses += [
            replace(status, reading=readings.get(status.gpu.uuid))
            for status in _gpus(node, here, frozenset(visible), len(statuses))
        ]
    return GpuReport(tuple(statuses), nodes=tuple(shown))


def _gpus(
    node: Node, tasks: Sequence[Task], visible: frozenset[str], first: int
) -> list[GpuStatus]:
    holders = defaultdict[str, list[str]](list)
    for task in tasks:
        for uuid in task.gpu_uuids:
            holders[uuid].append(task.id)
    uuids = [f"{node.name}:{number}" for number in range(node.gpu)]
    others = _used_by_others(node, uuids, holders)
    statuses = []
    for number, uuid in enumerate(uuids):
        condition, reason = _condition(node, is_held=uuid in holders, is_used=number in others)
        statuses.append(
            GpuStatus(
                first + number,
                Gpu(uuid, node.gpu_name, position=first + number),
                condition,
                reason,
                tuple(task_id for task_id in holders.get(uuid, ()) if task_id in visible),
                node.reason_by if condition is GpuCondition.DRAINED else None,
                node=node.name,
            )
        )
    return statuses


def _used_by_others(
    node: Node, uuids: Sequence[str], holders: Mapping[str, object]
) -> frozenset[int]:
    """Numbers of the GPUs that jobs without a known task have. Where the cluster reports only how
    many are in use, the first of the rest."""
    free = [number for number, uuid in enumerate(uuids) if uuid not in holders]
    if node.gpu_indexes_used is not None:
        return frozenset(free) & frozenset(node.gpu_indexes_used)
    return frozenset(free[: max(0, node.gpu_used - (len(uuids) - len(free)))])


def _condition(node: Node, *, is_held: bool, is_used: bool) -> tuple[GpuCondition, str | None]:
    words = "+".join(node.state).lower()
    if not node.takes_work:
        why = f"node {node.name} is {words}" + (f": {node.reason}" if node.reason else "")
        is_drained = any(word.startswith(("DRAIN", "MAINT")) for word in node.state)
        return GpuCondition.DRAINED if is_drained else GpuCondition.UNKNOWN, why
    if is_held:
        return GpuCondition.HELD, None
    if is_used:
        return GpuCondition.BUSY, "used by a job of the cluster that is no task of this server"
    return GpuCondition.FREE, None
