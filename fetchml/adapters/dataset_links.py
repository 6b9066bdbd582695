"""Folders of links in the places of /data and /inputs, for launchers without containers."""

import os
from pathlib import Path

from fetchml.adapters.shim_command import INPUTS_PLACE
from fetchml.files.layout import DATASETS, TASK_INPUTS
from fetchml.ports.launcher import INPUTS, LaunchSpec, PrepareError


def link_datasets(run: LaunchSpec) -> Path:
    """Create a folder of links that replaces a container's /data. A dataset that a container has
    elsewhere is in it under its whole path.

    Raises PrepareError if one dataset would be inside another, which the task may not write to.
    """
    folder = run.folder / DATASETS
    folder.mkdir(exist_ok=True)
    for dataset in run.datasets:
        link = folder / dataset.target.removeprefix("/data/").lstrip("/")
        if link.is_symlink() and link.readlink() == dataset.source:
            continue  # Left by an earlier call.
        above = [folder / each for each in link.relative_to(folder).parents]
        if os.path.lexists(link) or any(each.is_symlink() for each in above):
            raise PrepareError(
                f"without containers {dataset.target} lies where another dataset does, below "
                "/data: give it another mount_path",
                permanent=True,
            )
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(dataset.source)
    return folder


def input_variables(run: LaunchSpec) -> dict[str, str]:
    """Create a folder of links that replaces a container's /inputs, and return the variable that
    names it; nothing if the task has no inputs of other tasks."""
    if not run.inputs:
        return {}
    folder = run.folder / TASK_INPUTS
    for each in run.inputs:
        link = folder / each.target.removeprefix(f"{INPUTS}/")
        link.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(link):  # Else left by an earlier call.
            link.symlink_to(each.source)
    return {INPUTS_PLACE: str(folder)}
