"""The variables by which a task learns of its GPUs, and CUDA is kept to them."""

from collections.abc import Sequence

from fetchml.core.gpus.model import is_plain

UUIDS = "FETCHML_GPU_UUIDS"


def devices(gpu_ids: Sequence[str]) -> list[str]:
    """Those that name a GPU. A plain slot (`slot-N`) only counts: nobody knows its device."""
    return [gpu_id for gpu_id in gpu_ids if not is_plain(gpu_id)]


def task_variables(gpu_ids: Sequence[str]) -> dict[str, str]:
    """Return the variables that a task gets under every launcher."""
    return {UUIDS: ",".join(gpu_ids)} if gpu_ids else {}


def process_variables(gpu_ids: Sequence[str]) -> dict[str, str]:
    """For a plain process. CUDA shows it nothing but these; a task without GPUs sees none."""
    given = devices(gpu_ids)
    if gpu_ids and not given:
        return task_variables(gpu_ids)
    return task_variables(gpu_ids) | {"CUDA_VISIBLE_DEVICES": ",".join(given)}
