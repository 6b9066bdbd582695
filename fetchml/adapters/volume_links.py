"""A folder of links in the place of /volumes, for launchers without containers."""

from contextlib import suppress
from pathlib import PurePosixPath

from fetchml.files.layout import VOLUMES
from fetchml.ports.launcher import LaunchSpec


def link_volumes(run: LaunchSpec) -> None:
    """Create a folder of links that replaces a container's /volumes. May be repeated. Links can't
    make a volume read-only. Raises OSError."""
    folder = run.folder / VOLUMES
    folder.mkdir(exist_ok=True)
    for volume in run.volumes:
        with suppress(FileExistsError):
            (folder / PurePosixPath(volume.target).name).symlink_to(volume.source)
