"""The configuration of a task's container: hardened, with the shim as its first process."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from fetchml.adapters.container_mounts import (
    GATEWAY_FOLDER,
    RUN_FOLDER,
    SECRETS_FOLDER,
    SHIM_PATH,
    VOLUMES_FOLDER,
    WORKSPACE,
    control_in_container,
    folders_in_container,
    mounts_of,
)
from fetchml.adapters.docker.container_gpus import GpuGrant
from fetchml.adapters.shim_command import shim_command
from fetchml.files.layout import GATEWAY_SOCKET
from fetchml.ports.launcher import LaunchSpec, Owner
from fetchml.ports.task_environment import CONTAINER_DEFAULTS, GATEWAY_PORT, environment
from fetchml.system import capabilities

INSTANCE_LABEL, TASK_LABEL, ATTEMPT_LABEL = "fetchml.instance", "fetchml.task", "fetchml.attempt"

_TMP = "rw,exec,nosuid,nodev,mode=1777"
"""Executable, because compilers of kernels (Triton, torch.compile) load their results from /tmp."""
_SECRETS = "rw,noexec,nosuid,nodev,size=1m"
"""In memory, and gone with the container. The limits of secrets leave half of it free."""
_SHARES_PER_CORE = 1024
_OOM_SCORE = 500
"""If the host runs out of memory, a task is killed before the server and the Docker engine."""
_OOM_SCORE_UNRESERVED = 1000
"""For a task without requested memory, which is killed first."""
_STOP_MARGIN_SECONDS = 5
"""At a shutdown of the engine, the shim needs this long after the grace period to record the
end."""
_UNPRIVILEGED = (1000, 1000)


class ContainerLimits(NamedTuple):
    """Limits of every container."""

    cpu: int = 0
    """Cores of a task that requests none. 0, or at least the host's number of cores: no limit."""
    memory_gb: int = 0
    """GiB of a task that requests none; 0: no limit."""
    pids: int = 4096
    tmp_mb: int = 1024
    shm_mb: int = 1024


DEFAULT_LIMITS = ContainerLimits()


def parse_user(setting: str) -> Owner:
    """Return the user that the `user` setting names. Raises ValueError."""
    if setting == "image":
        return None
    if setting == "auto":
        is_root = os.geteuid() == 0
        if is_root or capabilities.may_hand_over():
            return _UNPRIVILEGED
        return os.geteuid(), os.getegid()
    uid, _, gid = setting.partition(":")
    return int(uid), int(gid)


def container_name(task_id: str, attempt: int) -> str:
    return f"fetchml-{task_id}-{attempt}"


def container_config(
    run: LaunchSpec,
    *,
    instance_id: str,
    shim: Path,
    network: str,
    user: Owner,
    gpus: GpuGrant,
    limits: ContainerLimits = DEFAULT_LIMITS,
    sysctls: Mapping[str, str] | None = None,
    gateway: Path | None = None,
) -> Mapping[str, Any]:
    """Return the body of the engine's create request. `gateway`: the folder with the server's
    socket for tasks; `None` if they get none."""
    mounts = [_bind(shim, SHIM_PATH, read_only=True)]
    mounts += [_bind(each.source, each.target, read_only=each.read_only) for each in mounts_of(run)]
    if gateway is not None:
        mounts.append(_bind(gateway, GATEWAY_FOLDER, read_only=True))
    tmpfs = {"/tmp": f"{_TMP},size={limits.tmp_mb}m"}  # noqa: S108 - in the container
    if run.secrets is not None:
        owner = f"mode=0700,uid={user[0]},gid={user[1]}" if user else "mode=1777"
        tmpfs[str(SECRETS_FOLDER)] = f"{_SECRETS},{owner}"
    variables = environment(run, folders_in_container(run), gpus.variables, CONTAINER_DEFAULTS)
    command = shim_command(
        SHIM_PATH,
        run,
        run_folder=RUN_FOLDER,
        workspace=WORKSPACE,
        secrets=SECRETS_FOLDER,
        control=control_in_container(run),
        volumes=VOLUMES_FOLDER,
        gateway=f"{GATEWAY_PORT}:{GATEWAY_FOLDER / GATEWAY_SOCKET}" if gateway else "",
    )
    memory = (run.memory_gb or limits.memory_gb) << 30
    few_cores = limits.cpu if limits.cpu < (os.cpu_count() or 1) else 0
    return {
        "Image": run.image,
        "Entrypoint": command[:1],
        "Cmd": command[1:],
        "WorkingDir": str(WORKSPACE),
        "User": f"{user[0]}:{user[1]}" if user else "",
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Hostname": run.task_id[-12:],
        "Labels": {
            INSTANCE_LABEL: instance_id,
            TASK_LABEL: run.task_id,
            ATTEMPT_LABEL: str(run.attempt),
        },
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM",
        "StopTimeout": run.grace_ms // 1000 + _STOP_MARGIN_SECONDS,
        "HostConfig": {
            "AutoRemove": False,
            "CapDrop": ["ALL"],
            "CpuShares": _SHARES_PER_CORE * min(max(1, run.cpu), 256),
            "DeviceRequests": list(gpus.requests),
            "Init": False,
            "IpcMode": "private",
            # The shim writes the log: Docker's drivers lose lines in a burst.
            "LogConfig": {"Type": "none"},
            "Memory": memory,
            "MemorySwap": memory,
            "Mounts": mounts,
            "NanoCpus": (run.cpu or few_cores) * 10**9,
            "NetworkMode": network,
            "OomScoreAdj": _OOM_SCORE if run.memory_gb else _OOM_SCORE_UNRESERVED,
            "PidsLimit": limits.pids,
            "ReadonlyRootfs": True,
            "RestartPolicy": {"Name": "no"},
            "SecurityOpt": ["no-new-privileges:true"],
            "ShmSize": limits.shm_mb << 20,
            "Sysctls": dict(sysctls or {}),
            "Tmpfs": tmpfs,
        },
    }


def with_volumes_in_memory(config: Mapping[str, Any], folders: Sequence[str]) -> Mapping[str, Any]:
    """Return the configuration with folders in memory, together as large as `/tmp`. They count as
    the container's memory."""
    host = config["HostConfig"]
    options = host["Tmpfs"]["/tmp"].split(",")  # noqa: S108 - in the container
    [size] = [each for each in options if each.startswith("size=")]
    each_mb = max(1, int(size.removeprefix("size=").removesuffix("m")) // len(folders))
    added = ",".join([*(each for each in options if each != size), f"size={each_mb}m"])
    tmpfs = dict.fromkeys(folders, added) | host["Tmpfs"]
    return {**config, "HostConfig": {**host, "Tmpfs": tmpfs}}


def _bind(
    source: Path, target: PurePosixPath | str, *, read_only: bool = False
) -> Mapping[str, Any]:
    """Return a bind mount: the engine rejects a missing source, instead of creating it."""
    mount = {"Target": str(target), "Source": str(source)}
    return {**mount, "Type": "bind", "ReadOnly": read_only}
