"""Environment variables that name a task's GPUs and limit CUDA to them."""

from collections.abc import Sequence

from fetchml.core.gpus.model import is_plain

UUIDS = "FETCHML_GPU_UUIDS"


def devices(gpu_ids: Sequence[str]) -> list[str]:
    """Return the ids that name a GPU. A plain slot (`slot-N`) has no known device."""
    return [gpu_id for gpu_id in gpu_ids if not is_plain(gpu_id)]


def task_variables(gpu_ids: Sequence[str]) -> dict[str, str]:
    """Return the variables that a task gets under every launcher."""
    return {UUIDS: ",".join(gpu_ids)} if gpu_ids else {}


def process_variables(gpu_ids: Sequence[str]) -> dict[str, str]:
    """Return the variables of a plain process. CUDA shows it only these GPUs, or none."""
    if not gpu_ids:
        return {"CUDA_VISIBLE_DEVICES": ""}
    given = devices(gpu_ids)
    if not given:
        return task_variables(gpu_ids)
    return task_variables(gpu_ids) | {"CUDA_VISIBLE_DEVICES": ",".join(given)}
