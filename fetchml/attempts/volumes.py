"""Volumes of tasks, checked again before each attempt."""

from pathlib import Path

from fetchml.core.model import Task
from fetchml.core.requests.volumes import Volume, fault
from fetchml.files.untrusted import identity
from fetchml.files.volume_usage import VolumeUsage
from fetchml.ports.launcher import Mount, PrepareError

ROOT = "/volumes"


def mounts_of(task: Task, volumes: VolumeUsage) -> tuple[Mount, ...]:
    """Return the task's volumes as mounts. Blocks for disk accesses. Raises PrepareError.

    The settings may have changed since the submit, a link may have been put in the place of a
    folder since the start of the server, and a volume may have reached its limit. A link may also
    be put there before the launcher mounts the folder: the shim compares what was mounted with the
    folder that was checked here.
    """
    names = task.spec.volumes or ()
    if wrong := fault(names, task.user, volumes.by_name):
        raise PrepareError(wrong, permanent=True)
    if full := volumes.room_fault(names):
        raise PrepareError(full, permanent=False)
    return tuple(_mount(name, volumes.by_name[name]) for name in names)


def _mount(name: str, volume: Volume) -> Mount:
    path = Path(volume.path)
    try:
        checked = identity(path)
    except OSError:
        message = f"the volume {name} is not available on this host now"
        raise PrepareError(message, permanent=False) from None
    return Mount(path, f"{ROOT}/{name}", volume.read_only, checked)
