"""Folders of links in the places of /data, /inputs and /volumes, for launchers without
containers."""

import os
from contextlib import suppress
from pathlib import PurePosixPath

from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.layout import DATASETS, SECRETS, TASK_INPUTS, VOLUMES
from fetchml.ports.launcher import INPUTS, LaunchSpec, PrepareError
from fetchml.ports.task_environment import TaskFolders


def link_folders(run: LaunchSpec) -> None:
    """Create the folders of links. May be repeated. Links can't make a volume read-only.

    Raises OSError, and PrepareError if one dataset would be inside another, which the task may not
    write to.
    """
    _link_datasets(run)
    if run.inputs:
        _link_inputs(run)
    if run.volumes:
        _link_volumes(run)


def linked_folders(run: LaunchSpec) -> TaskFolders:
    folder = AttemptFolder(run.folder)
    return TaskFolders(
        folder.workspace,
        run.folder / DATASETS,
        folder.outputs,
        inputs=run.folder / TASK_INPUTS if run.inputs else None,
        volumes=run.folder / VOLUMES if run.volumes else None,
        secrets=run.folder / SECRETS if run.secrets is not None else None,
        named={folder.variable: folder.source for folder in run.named_folders},
    )


def _link_datasets(run: LaunchSpec) -> None:
    """A dataset that a container has elsewhere is in the folder under its whole path."""
    folder = run.folder / DATASETS
    folder.mkdir(exist_ok=True)
    for dataset in run.datasets:
        link = folder / dataset.target.removeprefix("/data/").lstrip("/")
        if link.is_symlink() and link.readlink() == dataset.source:
            continue  # Left by an earlier call.
        above = [folder / each for each in link.relative_to(folder).parents]
        if os.path.lexists(link) or any(each.is_symlink() for each in above):
            raise PrepareError(
                f"mount_path {dataset.target} conflicts with another dataset below /data, since "
                "the task has no container: choose another one",
                permanent=True,
            )
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(dataset.source)


def _link_inputs(run: LaunchSpec) -> None:
    for each in run.inputs:
        link = run.folder / TASK_INPUTS / each.target.removeprefix(f"{INPUTS}/")
        link.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(link):  # Else left by an earlier call.
            link.symlink_to(each.source)


def _link_volumes(run: LaunchSpec) -> None:
    folder = run.folder / VOLUMES
    folder.mkdir(exist_ok=True)
    for volume in run.volumes:
        with suppress(FileExistsError):
            (folder / PurePosixPath(volume.target).name).symlink_to(volume.source)
