"""A core that packs tasks, driven by events that tests choose."""

from typing import Any

from fetchml.core.events import GpuMemoryUsed
from fetchml.core.gpus.allocator import GpuMemory
from fetchml.core.model import Task
from fetchml.core.packing import LearnedPeaks
from fetchml.core.scheduling.resources import PackingRule
from tests.core.host import Host, task

GIB = 1024
MEMORY = 80 * GIB
READING_MS = 2_000
RULE = PackingRule(margin_percent=10)


def host(
    gpus: int = 1, *, slots: int = 4, known: dict[str, int] | None = None, **more: Any
) -> Host:
    """`known`: learned peaks of alice's jobs, in GiB."""
    box = Host(gpus, memory_mb=MEMORY, slots_per_gpu=slots, packing=RULE, **more)
    for name, peak in (known or {}).items():
        learned(box).learn(("alice", name), peak * GIB)
    return box


def learned(box: Host) -> LearnedPeaks:
    assert box.state.packing is not None
    return box.state.packing.peaks


def of(name: str, job: str, **spec: Any) -> Task:
    return task(name, job_name=job, **spec)


def read(box: Host, *used: tuple[str, int], after: int = READING_MS) -> list[str]:
    """Return a reading: the MiB that each of these tasks uses on each of its GPUs."""
    box.now += after
    found: dict[str, dict[str, int]] = {}
    for task_id, mb in used:
        for uuid in box.task(task_id).gpu_uuids:
            found.setdefault(uuid, {})[task_id] = mb
    return box.do(GpuMemoryUsed(box.now, [GpuMemory(*each) for each in found.items()]))
