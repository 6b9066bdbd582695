"""Use of the memory of GPUs by tasks: by readings, and by the log of a task that has failed."""

import re
from collections.abc import Collection

from fetchml.core.gpus.allocator import GpuMemory
from fetchml.core.gpus.health import GpuReading

_HIDDEN_MB = 1024
"""Memory of no visible process that counts as the driver's own."""
_TOO_LITTLE = re.compile(
    r"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY"
    r"|cudaErrorMemoryAllocation|RESOURCE_EXHAUSTED: Out of memory"
)
"""Messages of PyTorch, CUDA, and JAX or TensorFlow."""


def memory_use(reading: GpuReading, holders: Collection[str]) -> GpuMemory | None:
    """Return the memory that each task uses on a GPU; `None` if that is not known.

    `holders`: ids of all tasks on it. A task that has the GPU to itself counts with all memory in
    use, whether its processes are visible or not. Several tasks count with their processes; if more
    memory is in use, by processes that are not visible, that may be anyone's.
    """
    if reading.lost is not None or reading.trouble is not None or reading.used_mb is None:
        return None
    if len(holders) == 1:
        return GpuMemory(reading.uuid, dict.fromkeys(holders, reading.used_mb))
    hidden = reading.unaccounted_mb
    if not holders or hidden is None or hidden > _HIDDEN_MB:
        return None
    found = dict.fromkeys(holders, 0)
    for process in reading.processes:
        if process.task_id in found:
            found[process.task_id] += process.memory_mb or 0
    return GpuMemory(reading.uuid, found)


def reports_too_little_memory(output: str | None) -> bool:
    """Whether a task's log reports that it found too little GPU memory. The task may have written
    anything: it is believed only about itself, and only if it shared a GPU."""
    return output is not None and _TOO_LITTLE.search(output) is not None
