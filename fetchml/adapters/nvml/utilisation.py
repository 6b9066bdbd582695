"""Use of a GPU by process, from the samples that NVIDIA's library keeps."""

from typing import Any

import pynvml

from fetchml.core.gpus.model import UNOWNED
from fetchml.ports.gpu import OwnerOf

_NOT_USED = frozenset({pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND})
"""Results of the library when there is no sample: no process used the GPU."""


def task_utilisation(
    handle: Any, since: int, owner_of: OwnerOf
) -> tuple[dict[str, int] | None, int]:
    """Return the highest use by the processes of each task in the samples after `since`, in
    percent, and the time of the newest sample. `None` if the driver does not report use by process,
    as for MIG devices.

    Copies and the engines for video and images count as much as computing.
    """
    try:
        samples = pynvml.nvmlDeviceGetProcessUtilization(handle, since)
    except pynvml.NVMLError as error:
        return ({} if error.value in _NOT_USED else None), since
    found: dict[str, int] = {}
    for each in samples:
        if each.timeStamp <= since:
            continue
        owner = owner_of(each.pid) or UNOWNED
        percent = max(each.smUtil, each.memUtil, each.encUtil, each.decUtil)
        found[owner] = max(found.get(owner, 0), min(percent, 100))
    return found, max([since, *(each.timeStamp for each in samples)])
