"""Amounts of resources: arithmetic, the host's capacity, and its owner's limits."""

from collections.abc import Iterator
from dataclasses import dataclass

from fetchml.core.gpus.allocator import Placement
from fetchml.core.model import Resources


def add(a: Resources, b: Resources) -> Resources:
    return Resources(a.cpu + b.cpu, a.memory_gb + b.memory_gb, a.gpu + b.gpu)


def subtract(a: Resources, b: Resources) -> Resources:
    return Resources(a.cpu - b.cpu, a.memory_gb - b.memory_gb, a.gpu - b.gpu)


def fits(wanted: Resources, free: Resources) -> bool:
    """Whether `free` suffices. What is not requested need not be free."""
    return (
        (not wanted.cpu or wanted.cpu <= free.cpu)
        and (not wanted.memory_gb or wanted.memory_gb <= free.memory_gb)
        and (not wanted.gpu or wanted.gpu <= free.gpu)
    )


def requested_names(wanted: Resources) -> Iterator[str]:
    """Yield the names of the requested resources."""
    for name in Resources.__struct_fields__:
        if getattr(wanted, name):
            yield name


def beyond(wanted: Resources, capacity: Resources) -> list[str]:
    """Return a description of all that exceeds the host; empty if the request can be satisfied."""
    return [
        fault
        for name in requested_names(wanted)
        if (fault := excess(getattr(wanted, name), getattr(capacity, name), f" {name}"))
    ]


def excess(asked: int, has: int, name: str = "") -> str | None:
    """Return why a host with `has` of a resource can never satisfy a request; `None` if it can.

    `name`: the resource, with a blank before it, if the sentence has to name it.
    """
    return f"requests {asked}{name}, but this host has {has}" if asked > has else None


def take(counts: dict[str, int], user: str, number: int) -> None:
    """Subtract from the count of a user or a sweep; a count of 0 has no entry."""
    left = counts[user] - number
    if left:
        counts[user] = left
    else:
        del counts[user]


CLUSTER_CAPACITY = Resources(cpu=1 << 20, memory_gb=1 << 20, gpu=1 << 20)
"""Limits of a request on a cluster, which itself refuses requests that it can never satisfy."""


@dataclass(slots=True, frozen=True)
class ClusterLimits:
    """The number of tasks that a cluster holds pending for this server."""

    max_pending: int
    user_max_pending: int
    """Of one user's tasks."""


@dataclass(slots=True, frozen=True)
class IdleRule:
    """When a running task leaves its GPUs idle (`core.gpus.events`)."""

    percent: int
    """A GPU with less use is idle."""
    idle_ms: int
    """Time without use after which the task is idle."""
    start_ms: int
    """The first part of an attempt, which does not count."""
    warning_ms: int | None
    """Further time without use after which the task is stopped; `None`: it never is."""


@dataclass(slots=True, frozen=True)
class PackingRule:
    """Tasks share a GPU by the peaks of GPU memory of their jobs (`core.packing`)."""

    margin_percent: int
    """Part of a GPU's memory that the tasks on it together leave free."""


@dataclass(slots=True, frozen=True)
class Limits:
    """The host's capacity and its owner's rules."""

    capacity: Resources
    """`gpu`: plain slots; 0 if the GPUs are those of the inventory (`GpusSeen`)."""
    max_running: int
    """Tasks that may hold a slot at the same time."""
    reserve_after_ms: int
    """Waiting time after which resources are reserved for a blocked task."""
    worker_id: str
    slots_per_gpu: int = 1
    placement: Placement = Placement.FILL
    half_life_ms: int = 86_400_000
    """Time in which a user's past use loses half of its weight; 0: it never fades."""
    user_gpus: int = 0
    """GPUs that one user's tasks may hold together; 0: no limit."""
    user_running: int = 0
    """Tasks of one user that may hold a slot at the same time; 0: no limit."""
    user_queued: int = 0
    """Tasks of one user that may wait; 0: no limit."""
    user_queued_bytes: int = 0
    """Bytes of memory that one user's live tasks may take; 0: no limit."""
    preemption: bool = False
    """Stop preemptible tasks for more urgent ones."""
    prestage: bool = False
    """Make tasks ready while they wait."""
    max_prestaged: int = 2
    """Tasks without GPUs that are prestaged at the same time, at most."""
    idle: IdleRule | None = None
    """`None`: idle GPUs are not looked for."""
    packing: PackingRule | None = None
    """`None`: any tasks share a GPU that has a free slot."""
    cluster: ClusterLimits | None = None
    """Set if a cluster places the tasks; `None` if this host runs them."""
