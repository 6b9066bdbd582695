"""Containers on nodes: the command that runs a task's image with the site's container program.

The shim is the first process within the container. It claims the attempt, keeps the time limit and
records the end as it does without one; the job's own first process is the runtime, which passes
signals on. The task's variables are in a file that only the shim reads: on a command line others on
the node could see them, and in the runtime's own environment they could change what that does.

Pyxis, a plugin of Slurm, runs the steps of a job in containers: there the job's first process is
`srun`, and the shim is the only process of its step.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from shlex import quote

from fetchml.adapters.container_mounts import (
    RUN_FOLDER,
    SECRETS_FOLDER,
    SHIM_PATH,
    WORKSPACE,
    control_in_container,
    folders_in_container,
    mounts_of,
)
from fetchml.adapters.shim_command import shim_command
from fetchml.files.layout import GPU_SAMPLER, NODE_RELAY, SECRETS
from fetchml.ports.launcher import LaunchSpec, Mount, PrepareError
from fetchml.ports.task_environment import (
    CONTAINER_DEFAULTS,
    CUDA_DEVICES,
    cluster_gpus,
    environment,
)

ENVIRONMENT = "environment"
"""File in the attempt's folder with the task's variables."""
_ENVIRONMENT_PATH = "/.fetchml/environment"
_RELAY_PATH = PurePosixPath("/.fetchml/node_relay.py")
_SAMPLER_PATH = PurePosixPath("/.fetchml/gpu_samples.py")
_NAME = re.compile(r"[a-z0-9](?:[A-Za-z0-9._/@-]|:(?!/)){0,511}")
_TRANSPORTS = re.compile(
    "(?:containers-storage|dir|docker-archive|docker-daemon|oci|oci-archive|sif):"
)
"""Prefixes after which Podman does not read the name of an image in a registry."""
_SCHEMES = ("docker://", "oras://", "library://")
_SQUASHFS = (".sqsh", ".squashfs")
_NOT_FOR_TASKS = (
    *("SLURM", "_SLURM", "SRUN_", "ENROOT_", "PYXIS_", "PMI", "XDG_RUNTIME_DIR"),
    # By these, programs of MPI would start their processes as further steps of the job.
    *("OMPI_MCA_plm_slurm", "PRTE_MCA_plm_slurm", "HYDRA_", "I_MPI_HYDRA_"),
)
"""Beginnings of the names of variables that a step of Slurm has, and tasks of other runtimes don't
have."""
_VOLUME = """\
{variable}=$(cd -P -- {path} && [ "$(readlink /proc/self/cwd)" = {path} ] && stat -c %d:%i .) || {{
    echo "the volume {name} is not available on this node: "{path}" is no folder or has a link" >&2
    exit 1
}}"""
"""Sets a variable to the device and the inode of a volume's folder on the node. The shim compares
them with what the runtime has mounted: a link may be put in the folder's place meanwhile."""


@dataclass(frozen=True, slots=True)
class Containers:
    """How nodes run images."""

    runtime: str
    """`podman`, `apptainer` or `pyxis`."""
    owner: tuple[int, int]
    """uid and gid of the account that runs the jobs."""
    shm_mb: int = 1024
    """MiB of shared memory, where the runtime gives each container its own."""

    def variables(self, run: LaunchSpec) -> dict[str, str]:
        """Return the task's variables. Those of the image are there beside them."""
        folders = folders_in_container(run)
        return environment(run, folders, cluster_gpus(run.gpu), CONTAINER_DEFAULTS)

    def environment(self, run: LaunchSpec) -> bytes:
        """Return the content of the shim's file with variables (shim/README.md)."""
        removed = _NOT_FOR_TASKS if self.runtime == "pyxis" else ()
        given = (f"{name}={value}" for name, value in self.variables(run).items())
        return b"".join(f"{entry}\0".encode() for entry in (*removed, *given))

    def script(self, run: LaunchSpec, shims: Path, *, usage_ms: int, lease_ms: int) -> str:
        """Return the lines of a shell that replace it by the runtime. Raises PrepareError."""
        shim = shim_command(
            SHIM_PATH,
            run,
            run_folder=RUN_FOLDER,
            workspace=WORKSPACE,
            secrets=SECRETS_FOLDER,
            control=control_in_container(run),
            control_ms=usage_ms,
            usage_ms=usage_ms,
            lease_ms=lease_ms,
            environment=_ENVIRONMENT_PATH,
            relay=_RELAY_PATH,
            sampler=_SAMPLER_PATH,
        )
        mounts = [
            Mount(run.folder / ENVIRONMENT, _ENVIRONMENT_PATH, read_only=True),
            Mount(shims / NODE_RELAY, str(_RELAY_PATH), read_only=True),
            Mount(shims / GPU_SAMPLER, str(_SAMPLER_PATH), read_only=True),
            *mounts_of(run),
        ]
        if run.secrets is not None:
            mounts.append(Mount(run.folder / SECRETS, str(SECRETS_FOLDER), read_only=False))
        words = {
            "podman": self._podman,
            "apptainer": self._apptainer,
            "pyxis": self._pyxis,
        }[self.runtime]
        command = [*map(quote, shim)]
        checks = []
        for number, volume in enumerate(run.volumes):
            variable, name = f"volume{number}", PurePosixPath(volume.target).name
            path = quote(str(volume.source))
            checks.append(_VOLUME.format(variable=variable, path=path, name=name))
            command[1:1] = ["--volume", f'"${variable}:{volume.target}"']
        script = words(run, f'{quote(str(shims))}/"$(uname -m)"', mounts, command)
        return "\n".join([*checks, script])

    def _podman(self, run: LaunchSpec, shim: str, mounts: list[Mount], command: list[str]) -> str:
        if not _NAME.fullmatch(run.image) or _TRANSPORTS.match(run.image):
            raise _unusable(run.image, "the name of an image in a registry")
        uid, gid = self.owner
        options = [
            "--rm",
            "--network=host",
            "--cap-drop=all",
            "--security-opt=no-new-privileges",
            "--read-only",
            f"--user={uid}:{gid}",
            f"--shm-size={self.shm_mb}m",
            "--log-driver=none",
            f"--label=fetchml.task={run.task_id}",
            f"--workdir={WORKSPACE}",
            f"--entrypoint={SHIM_PATH}",
            # So that the processes stay in the job, with its limits.
            "--cgroups=disabled",
            # What the image declares as volumes would be on the node's disk, without a limit.
            "--image-volume=tmpfs",
            # The counts there are those of the whole node.
            "--security-opt=mask=/sys/fs/cgroup",
            *(["--userns=keep-id"] if uid else []),
        ]
        lines = ['set -- "--mount=type=bind,src="' + f'{shim}",dst={SHIM_PATH},ro"']
        if run.gpu:
            lines.append('for number in $(echo "$numbers" | tr , " "); do')
            lines.append('    set -- "$@" "--device=nvidia.com/gpu=$number"')
            lines.append("done")
        words = [*options, *(f"--mount={_mount(each)}" for each in mounts)]
        return _script(lines, "podman run", words, [quote(run.image), *command[1:]])

    def _apptainer(
        self, run: LaunchSpec, shim: str, mounts: list[Mount], command: list[str]
    ) -> str:
        image = run.image
        if _NAME.fullmatch(image) and not _TRANSPORTS.match(image):
            image = f"docker://{image}"
        elif not (image.startswith("/") and image.endswith(".sif")):
            scheme = next((each for each in _SCHEMES if image.startswith(each)), None)
            if scheme is None or not _NAME.fullmatch(image.removeprefix(scheme)):
                raise _unusable(image, "a name in a registry, or the path of a .sif file")
        options = ["--contain", "--cleanenv", "--no-home", "--no-privs", "--writable-tmpfs"]
        options.append(f"--pwd={WORKSPACE}")
        lines = [f'set -- "--bind="{shim}":{SHIM_PATH}:ro"']
        if run.gpu:
            lines.append(f'set -- "$@" --nv "--env={CUDA_DEVICES}=$gpus"')
        words = [*options, *(f"--bind={_apptainer_bind(each)}" for each in mounts)]
        return _script(lines, "apptainer exec", words, [quote(image), *command])

    def _pyxis(self, run: LaunchSpec, shim: str, mounts: list[Mount], command: list[str]) -> str:
        lines = [
            "job=$1 cpus=$2 conf=$3",
            '[ -z "$conf" ] || export SLURM_CONF="$conf"',
            # One option has all mounts: of two, the second is another value of the first.
            f'set -- "--container-mounts={_pyxis_mounts(mounts)},"{shim}":{SHIM_PATH}:ro"',
            'set -- "--jobid=$job" "--cpus-per-task=$cpus" "$@"',
        ]
        options = [
            "--nodes=1",
            "--ntasks=1",
            "--mem=0",  # All of the job's.
            "--input=none",
            "--mpi=none",
            f"--container-image={_pyxis_image(run.image)}",
            f"--container-workdir={WORKSPACE}",
            "--container-readonly",
            "--no-container-mount-home",
            "--no-container-remap-root",
            "--no-container-entrypoint",
        ]
        return _script(lines, "srun", options, command)


def _script(lines: list[str], program: str, options: list[str], rest: list[str]) -> str:
    """`rest`: words of the shell, already quoted."""
    given = " ".join(map(quote, options))
    return "\n".join([*lines, f'exec {program} {given} "$@" {" ".join(rest)}'])


def _mount(mount: Mount) -> str:
    """One line of CSV."""
    fields = ["type=bind", f"src={mount.source}", f"dst={mount.target}"]
    fields += ["ro"] if mount.read_only else []
    return ",".join(_in_csv(each) for each in fields)


def _in_csv(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text


def _apptainer_bind(mount: Mount) -> str:
    """Raises PrepareError for a path that the option can't have."""
    for path in (str(mount.source), mount.target):
        if set(path) & set(":,\\"):
            raise PrepareError(
                f"Apptainer cannot mount {path}: its path has one of : , \\", permanent=True
            )
    return f"{mount.source}:{mount.target}:{'ro' if mount.read_only else 'rw'}"


def _pyxis_image(image: str) -> str:
    """Return the name with a `#` after its registry: without it, older releases of enroot ask
    Docker Hub. Raises PrepareError."""
    if image.startswith("/") and image.endswith(_SQUASHFS) and image.isprintable():
        return image
    if not _NAME.fullmatch(image) or _TRANSPORTS.match(image):
        raise _unusable(image, "a name in a registry, or the path of a .sqsh file")
    registry, slash, name = image.partition("/")
    if not slash or not (set(registry) & set(".:") or registry == "localhost"):
        return image
    return name if registry == "docker.io" else f"{registry}#{name}"


def _pyxis_mounts(mounts: list[Mount]) -> str:
    """Raises PrepareError for a path that the option can't have: enroot reads the mounts from lines
    of a shell's script."""
    for path in (part for each in mounts for part in (str(each.source), each.target)):
        if not path.isprintable() or set(path) & set(' ,:\\"$`'):
            raise PrepareError(
                f'Pyxis cannot mount {path}: its path has a space or one of , : \\ " $ `',
                permanent=True,
            )
    modes = ("ro" if each.read_only else "rw" for each in mounts)
    return ",".join(
        f"{each.source}:{each.target}:{mode}" for each, mode in zip(mounts, modes, strict=True)
    )


def _unusable(image: str, usable: str) -> PrepareError:
    return PrepareError(
        f"invalid image {image[:200]} for the cluster's nodes: give {usable}", permanent=True
    )
