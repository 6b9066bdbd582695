"""The parts of a server over a cluster that differ from those over one host."""

from pathlib import Path

from fetchml.attempts.hosts import ClusterHost, TaskHost, ThisHost
from fetchml.config.settings import Settings
from fetchml.files.folder_events import FolderEvents
from fetchml.files.layout import NODE_RELAY, SHIM
from fetchml.files.shared_disk import SharedFolders
from fetchml.ports.cluster import Cluster
from fetchml.ports.launcher import Launcher
from fetchml.server.cannot_start import CannotStart


def folder_events(settings: Settings) -> FolderEvents:
    return SharedFolders() if on_cluster(settings) else FolderEvents()


def on_cluster(settings: Settings) -> bool:
    return settings.server.launcher == "slurm"


def slurm_allow(settings: Settings) -> tuple[str, ...] | None:
    """Parameters of Slurm that requests may have; `None` if tasks do not run on Slurm."""
    return settings.slurm.allow if on_cluster(settings) else None


def hands_files_over(settings: Settings) -> bool:
    """Return whether tasks may run as other users than the server's, who own their files."""
    if on_cluster(settings):
        return any("user" in entries for entries in settings.slurm.users.values())
    return settings.server.launcher == "docker"


def slurm_users(settings: Settings) -> tuple[str, ...] | None:
    """Users who may submit; `None` if all may."""
    slurm = settings.slurm
    if not on_cluster(settings) or slurm.unmapped == "service":
        return None
    return tuple(user for user, entries in slurm.users.items() if "user" in entries)


def tasks_folder(settings: Settings) -> Path:
    """The folder that holds what tasks and their nodes need. Raises CannotStart."""
    if not on_cluster(settings):
        return settings.data_dir
    shared = settings.slurm.shared_dir
    if shared is None or not shared.is_absolute():
        raise CannotStart(
            "[slurm] shared_dir is not set: name a folder that this host and all nodes of the "
            "cluster see under the same absolute path"
        )
    return shared


def jupyter_relay(settings: Settings) -> Path | None:
    """See JupyterOptions. Raises CannotStart."""
    return tasks_folder(settings) / SHIM / NODE_RELAY if on_cluster(settings) else None


def host_of(launcher: Launcher) -> TaskHost:
    return ClusterHost(launcher) if isinstance(launcher, Cluster) else ThisHost()
