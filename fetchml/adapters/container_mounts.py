"""The folders of a task in its container, the same for every container runtime."""

from pathlib import PurePosixPath

from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import INPUTS, LaunchSpec, Mount
from fetchml.ports.task_environment import TaskFolders

RUN_FOLDER, SHIM_PATH = PurePosixPath("/.fetchml/run"), PurePosixPath("/.fetchml/shim")
GATEWAY_FOLDER = PurePosixPath("/.fetchml/server")
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
    replaced = {mount.target for mount in run.datasets}
    return [
        *run.datasets,
        *(Mount(each.source, each.target, read_only=True) for each in run.inputs),
        *(Mount(each.source, each.target, each.read_only) for each in run.named_folders),
        *run.volumes,
        *(mount for mount in own if mount.target not in replaced),
    ]


def control_in_container(run: LaunchSpec) -> PurePosixPath | None:
    """Return the place of the attempt's `control/`; `None` if it has none."""
    return CONTROL_FOLDER if AttemptFolder(run.folder).takes_limits() else None


def folders_in_container(run: LaunchSpec) -> TaskFolders:
    return TaskFolders(
        WORKSPACE,
        _DATASETS,
        _OUTPUTS,
        inputs=PurePosixPath(INPUTS) if run.inputs else None,
        volumes=VOLUMES_FOLDER if run.volumes else None,
        secrets=SECRETS_FOLDER if run.secrets is not None else None,
        named={folder.variable: PurePosixPath(folder.target) for folder in run.named_folders},
    )
