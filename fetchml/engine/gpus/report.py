"""The report of the GPUs to clients: the core's pool and the newest reading, joined."""

from collections.abc import Callable
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from fetchml.core.gpus.allocator import Gpu, Obstacle, ObstacleKind
from fetchml.core.gpus.health import GpuReading
from fetchml.core.model import Task
from fetchml.core.packing import GpuRoom
from fetchml.core.state import State
from fetchml.ports.cluster import Node
from fetchml.ports.gpu import GpuState


class GpuCondition(StrEnum):
    """The first that applies."""

    LOST = "lost"
    SICK = "sick"
    DRAINED = "drained"
    HELD = "held"
    """Tasks hold it; with sharing it may take more."""
    BUSY = "busy"
    """A process of no task uses it, or what a task left on it is not gone."""
    SETTLING = "settling"
    """A task has just left it, and it is being checked."""
    UNKNOWN = "unknown"
    """The driver does not report it now."""
    FREE = "free"


class GpuStatus(msgspec.Struct, frozen=True):
    """One GPU, or MIG device, or plain slot."""

    number: int
    """Its place in the list, from 0."""
    gpu: Gpu
    condition: GpuCondition
    reason: str | None = None
    """A sentence on why nothing is started on it; `None` if it is free or tasks hold it."""
    held_by: tuple[str, ...] = ()
    """Ids of the tasks that the caller may see."""
    drained_by: str | None = None
    """The user or rule that drained it, also while it is lost, sick or held."""
    reading: GpuReading | None = None
    """`None` for a plain slot."""
    packing_room_mb: int | None = None
    """MiB of memory for one more task beside those that hold it, by the learned peaks; 0: there
    is room for none. `None` if no task holds it, the caller may not see all that do, or the server
    does not pack."""
    node: str | None = None
    """The node of the cluster that it is in; `None` on one host."""


class NodeStatus(msgspec.Struct, frozen=True):
    """One machine of a cluster."""

    node: Node
    task_ids: tuple[str, ...] = ()
    """Ids of the tasks on it that the caller may see."""


class PackingCounts(msgspec.Struct, frozen=True):
    """Since the start of the server."""

    starts: int
    """Tasks that were started beside others on a GPU."""
    exhausted: int
    """Attempts that ran out of GPU memory beside others."""


class GpuReport(msgspec.Struct, frozen=True):
    gpus: tuple[GpuStatus, ...]
    """In the order of the bus."""
    driver: str | None = None
    """The driver's version; `None` if it does not answer, or the slots are plain."""
    problem: str | None = None
    """The reason why the driver does not answer, for people."""
    notes: tuple[str, ...] = ()
    packing: PackingCounts | None = None
    """`None` if the server does not pack."""
    nodes: tuple[NodeStatus, ...] = ()
    """The machines of the cluster, by name; empty on one host."""


def gpu_report(state: State, seen: GpuState, may_see: Callable[[Task], bool]) -> GpuReport:
    """All GPUs, in the order of their places. Tasks that the caller may not see are left out."""
    readings = {reading.uuid: reading for reading in seen.readings}
    gpus = sorted(state.gpus.inventory.values(), key=lambda gpu: (gpu.position, gpu.uuid))
    packing = state.packing
    pool = state.gpus
    room = None
    if packing is not None:
        room = packing.room(pool.inventory.values(), pool.holders, state.tasks)
    statuses = [
        _status(state, number, gpu, readings.get(gpu.uuid), room, may_see)
        for number, gpu in enumerate(gpus)
    ]
    counts = None if packing is None else PackingCounts(packing.starts, packing.exhausted)
    return GpuReport(tuple(statuses), seen.driver, seen.problem, seen.notes, counts)


def _status(
    state: State,
    number: int,
    gpu: Gpu,
    reading: GpuReading | None,
    room: GpuRoom | None,
    may_see: Callable[[Task], bool],
) -> GpuStatus:
    pool = state.gpus
    holders = tuple(pool.holders.get(gpu.uuid, ()))
    obstacle = pool.obstacle(gpu.uuid)
    visible = tuple(
        task_id for task_id in holders if task_id in state.tasks and may_see(state.tasks[task_id])
    )
    if reading is not None:
        shown = [p for p in reading.processes if p.task_id is None or p.task_id in visible]
        reading = replace(reading, processes=tuple(shown))
    condition = _condition(
        obstacle,
        is_drained=gpu.uuid in pool.drained,
        is_held=bool(holders),
        settles=gpu.uuid in pool.settling,
    )
    return GpuStatus(
        number,
        gpu,
        condition,
        None if obstacle is None else str(obstacle),
        visible,
        pool.drained.get(gpu.uuid),
        reading,
        _room(room, gpu.uuid, pool.slots_per_gpu > len(holders)) if visible == holders else None,
    )


def _room(room: GpuRoom | None, uuid: str, has_slot: bool) -> int | None:
    left = None if room is None else room.left(uuid)
    return left if has_slot or left is None else 0


def _condition(
    obstacle: Obstacle | None, *, is_drained: bool, is_held: bool, settles: bool
) -> GpuCondition:
    kind = None if obstacle is None else obstacle.kind
    if kind is ObstacleKind.LOST:
        return GpuCondition.LOST
    if kind is ObstacleKind.SICK:
        return GpuCondition.SICK
    if is_drained:
        return GpuCondition.DRAINED
    if is_held:
        return GpuCondition.HELD
    if kind is ObstacleKind.UNKNOWN:
        return GpuCondition.UNKNOWN
    if kind is not None:
        return GpuCondition.BUSY
    return GpuCondition.SETTLING if settles else GpuCondition.FREE
