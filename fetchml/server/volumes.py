"""The volumes of the settings, as folders of this host."""

import logging
from collections.abc import Mapping

from fetchml.config.settings import Settings
from fetchml.core.requests.volumes import Volume, overlap_fault, path_fault
from fetchml.server.cannot_start import CannotStart

log = logging.getLogger(__name__)


def volumes_of(settings: Settings) -> Mapping[str, Volume]:
    """Return the volumes by name, links resolved. One that is missing stays: its tasks fail until
    it is there. Raises CannotStart."""
    volumes = dict[str, Volume]()
    for name, volume in settings.volumes.items():
        path = volume.path.resolve()
        if fault := path_fault(str(path), own_folders(settings)):
            raise CannotStart(f"[volumes.{name}] path: {fault}. Name another folder.")
        if not path.is_dir():
            log.warning("[volumes.%s] path: folder %s not found", name, path)
        most = volume.max_gb << 30
        volumes[name] = Volume(str(path), volume.mode == "ro", volume.users, most)
    if fault := overlap_fault(volumes, datasets_root(settings)):
        raise CannotStart(f"{fault}.")
    return volumes


def datasets_root(settings: Settings) -> str | None:
    """Return the folder of the datasets, links resolved; `None` if there is none."""
    root = settings.datasets.root
    return None if root is None else str(root.resolve())


def own_folders(settings: Settings) -> list[str]:
    """Return the folders of the server that no volume may open, links resolved."""
    shared = settings.slurm.shared_dir if settings.server.launcher == "slurm" else None
    folders = (settings.data_dir, settings.jupyter.root, shared)
    return [str(folder.resolve()) for folder in folders if folder is not None]
