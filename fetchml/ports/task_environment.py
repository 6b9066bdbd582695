"""The environment variables of a task: names, values, and which value wins.

Of two values for one variable, the one further down this list wins:

1. in a container, what the image sets
2. defaults of the launcher: `PATH` for a process, `HOME` in a container
3. what MLflow's client needs to log to the server
4. `env` of the request
5. the identity of the attempt, and the parameters of its sweep
6. what the preparation adds: the Python environment, a Jupyter service's key
7. GPUs
8. paths of the task's folders
9. secrets, which the shim sets right before the command. A request can't have a secret that is a
   variable of its `env` too, and no secret's name begins with `FETCHML_`.

`LaunchSpec.env` has 3 to 6; a launcher gets all but the image's and the secrets from `environment`.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import NamedTuple

from fetchml.core.gpus.allocator import is_plain
from fetchml.core.model import SweepMember, Task
from fetchml.ports.launcher import LaunchSpec

TASK_ID, JOB_NAME, ATTEMPT = "FETCHML_TASK_ID", "FETCHML_JOB_NAME", "FETCHML_ATTEMPT"
SWEEP_ID, SWEEP_INDEX, SWEEP_PARAMETER = "FETCHML_SWEEP_ID", "FETCHML_SWEEP_INDEX", "FETCHML_PARAM_"
WORKSPACE, DATASETS, OUTPUTS = "FETCHML_WORKSPACE", "FETCHML_DATASETS", "FETCHML_OUTPUTS"
CHECKPOINT, INPUTS, VOLUMES = "FETCHML_CHECKPOINT", "FETCHML_INPUTS", "FETCHML_VOLUMES"
SECRETS = "FETCHML_SECRETS"
GPU_UUIDS = "FETCHML_GPU_UUIDS"
CUDA_DEVICES = "CUDA_VISIBLE_DEVICES"
NVIDIA_DEVICES = "NVIDIA_VISIBLE_DEVICES"
"""Variable that NVIDIA's runtime reads. Many images set it to `all`: as the engine's default
runtime it would give all GPUs to a task that requested none."""
NO_NVIDIA_DEVICES = "void"
JUPYTER_TOKEN, JUPYTER_KEY = "JUPYTER_TOKEN", "FETCHML_JUPYTER_KEY"
"""Of a Jupyter service; the key is for its relay on a node of a cluster, and Jupyter does not get
it."""

TRACKING = "MLFLOW_TRACKING_"
TRACKING_URI, TRACKING_TOKEN = f"{TRACKING}URI", f"{TRACKING}TOKEN"
EXPERIMENT_NAME = "MLFLOW_EXPERIMENT_NAME"
NO_TELEMETRY = "MLFLOW_DISABLE_TELEMETRY"

GATEWAY_PORT = 29101
"""Port of a container's loopback that leads to the server. Few programs listen on it, and no
connection gets it as its own."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a process without its own: the server's is not inherited."""
PROCESS_DEFAULTS = MappingProxyType({"PATH": DEFAULT_PATH})
CONTAINER_DEFAULTS = MappingProxyType({"HOME": "/tmp"})  # noqa: S108 - in the container


class TaskFolders(NamedTuple):
    """Paths of a task's folders as its processes see them; `None` if it has no such folder."""

    workspace: PurePath
    datasets: PurePath
    outputs: PurePath
    inputs: PurePath | None = None
    volumes: PurePath | None = None
    secrets: PurePath | None = None
    named: Mapping[str, PurePath] = MappingProxyType({})
    """The spec's `folders`, by variable."""

    @property
    def variables(self) -> dict[str, str]:
        named = {
            WORKSPACE: self.workspace,
            DATASETS: self.datasets,
            OUTPUTS: self.outputs,
            INPUTS: self.inputs,
            VOLUMES: self.volumes,
            SECRETS: self.secrets,
            **self.named,
        }
        return {name: str(path) for name, path in named.items() if path is not None}


GpuVariables = Mapping[str, str | None]
"""`None`: the variable is absent, or set on the node only, whatever the request has."""


def environment(
    run: LaunchSpec, folders: TaskFolders, gpus: GpuVariables, defaults: Mapping[str, str]
) -> dict[str, str]:
    """Return all variables that the launcher sets for the command."""
    variables = {**defaults, **run.env, **gpus, **folders.variables}
    return {name: value for name, value in variables.items() if value is not None}


class TrackingAccess(NamedTuple):
    """How a task logs to the server by the MLflow protocol."""

    url: str
    token: str
    experiment: str | None
    """Name of the task's experiment; `None` if it has none."""


def attempt_variables(task: Task, tracking: TrackingAccess | None = None) -> dict[str, str]:
    """Return the variables of the request, and those that identify the attempt. `tracking`: `None`
    if the task gets no variables for MLflow."""
    spec = task.spec
    mlflow = {} if tracking is None else _mlflow_variables(task, tracking)
    identity = {TASK_ID: task.id, JOB_NAME: spec.job_name, ATTEMPT: str(task.attempt)}
    parameters = {SWEEP_PARAMETER + name.upper(): text for name, text in spec.parameters.items()}
    own = {**(spec.env or {}), **identity, **parameters, **sweep_variables(spec.sweep)}
    return {**mlflow, **own}


def _mlflow_variables(task: Task, tracking: TrackingAccess) -> dict[str, str]:
    """None if the request sets one for another server, which must not get the task's token."""
    secrets = [each.name for each in task.spec.secrets or ()]
    if any(name.startswith(TRACKING) for name in (*(task.spec.env or {}), *secrets)):
        return {}
    variables = {TRACKING_URI: tracking.url, TRACKING_TOKEN: tracking.token, NO_TELEMETRY: "true"}
    if tracking.experiment is not None and EXPERIMENT_NAME not in secrets:
        variables[EXPERIMENT_NAME] = tracking.experiment
    return variables


def sweep_variables(member: SweepMember | None) -> dict[str, str]:
    return {} if member is None else {SWEEP_ID: member.id, SWEEP_INDEX: str(member.index)}


def python_variables(task: Task, folder: str, path: str) -> dict[str, str]:
    """Return the variables that put the Python environment in `folder` first. `path`: the PATH of
    a task that sets none."""
    path = (task.spec.env or {}).get("PATH", path)
    return {"VIRTUAL_ENV": folder, "PATH": f"{folder}/bin:{path}"}


def jupyter_variables(token: str, relay_key: str | None) -> dict[str, str]:
    """`relay_key`: `None` without a cluster. Both are stored nowhere."""
    return {JUPYTER_TOKEN: token} | ({} if relay_key is None else {JUPYTER_KEY: relay_key})


def process_gpus(gpu_ids: Sequence[str]) -> GpuVariables:
    """Return the variables of a plain process. CUDA shows it only these GPUs, or none."""
    devices = gpu_devices(gpu_ids)
    if gpu_ids and not devices:  # CUDA's number of a plain slot is unknown: the request may set it.
        return _uuids(gpu_ids)
    return {**_uuids(gpu_ids), CUDA_DEVICES: ",".join(devices)}


def container_gpus(gpu_ids: Sequence[str], nvidia_devices: str | None) -> GpuVariables:
    """`nvidia_devices`: what NVIDIA's runtime shall add; `None` if the image decides."""
    nvidia = {} if nvidia_devices is None else {NVIDIA_DEVICES: nvidia_devices}
    return {**_uuids(gpu_ids), **nvidia}


def cluster_gpus(count: int) -> GpuVariables:
    """Return the variables of a cluster's job, whose node sets the numbers of its GPUs."""
    return {GPU_UUIDS: None, CUDA_DEVICES: None if count else ""}


def gpu_devices(gpu_ids: Sequence[str]) -> list[str]:
    """Return the ids that name a GPU. A plain slot (`slot-N`) has no known device."""
    return [gpu_id for gpu_id in gpu_ids if not is_plain(gpu_id)]


def _uuids(gpu_ids: Sequence[str]) -> GpuVariables:
    return {GPU_UUIDS: ",".join(gpu_ids) or None}
