"""The places of a task in its container, the same for every container runtime."""

from pathlib import PurePosixPath

from fetchml.adapters.shim_command import (
    INPUTS_PLACE,
    PLACES,
    SECRETS_VARIABLE,
    VOLUMES_VARIABLE,
)
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import INPUTS, LaunchSpec, Mount

RUN_FOLDER, SHIM_PATH = PurePosixPath("/.fetchml/run"), PurePosixPath("/.fetchml/shim")
CONTROL_FOLDER = PurePosixPath("/.fetchml/control")
WORKSPACE, SECRETS_FOLDER = PurePosixPath("/workspace"), PurePosixPath("/secrets")
VOLUMES_FOLDER = PurePosixPath("/volumes")
_DATASETS, _OUTPUTS = map(PurePosixPath, ("/data", "/outputs"))


def mounts_of(run: LaunchSpec) -> list[Mount]:
    """Return everything that the container has of the host, but for the shim."""
    folder = AttemptFolder(run.folder)
    own = [
        Mount(folder.run, str(RUN_FOLDER), read_only=False),
        Mount(folder.workspace, str(WORKSPACE), read_only=False),
        Mount(folder.outputs, str(_OUTPUTS), read_only=False),
    ]
    if control_in_container(run) is not None:
        own.append(Mount(folder.control, str(CONTROL_FOLDER), read_only=True))
    given = {mount.target for mount in run.datasets}
    return [
        *run.datasets,
        *(Mount(each.source, each.target, read_only=True) for each in run.inputs),
        *(Mount(each.source, each.target, each.read_only) for each in run.places),
        *run.volumes,
        *(mount for mount in own if mount.target not in given),
    ]


def control_in_container(run: LaunchSpec) -> PurePosixPath | None:
    """Return the place of the attempt's `control/`; `None` if it has none."""
    return CONTROL_FOLDER if AttemptFolder(run.folder).takes_limits() else None


def variables_in_container(run: LaunchSpec) -> dict[str, str]:
    """Return the variables that name the places, with paths in the container."""
    variables = dict(zip(PLACES, map(str, (WORKSPACE, _DATASETS, _OUTPUTS)), strict=True))
    variables |= {place.variable: place.target for place in run.places}
    if run.inputs:
        variables[INPUTS_PLACE] = INPUTS
    if run.volumes:
        variables[VOLUMES_VARIABLE] = str(VOLUMES_FOLDER)
    if run.secrets is not None:
        variables[SECRETS_VARIABLE] = str(SECRETS_FOLDER)
    return variables
