"""A Slurm cluster: reachable, with nodes that take work, and a shared folder."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator

from fetchml.adapters.slurm.health import check_shared
from fetchml.adapters.slurm.transport import SlurmAway, SlurmTransport
from fetchml.config.settings import Settings
from fetchml.ops.checks import cluster_config, cluster_users
from fetchml.ports.cluster import Node
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import tasks_folder
from fetchml.server.slurm_wiring import transport_of
from fetchml.views import Finding

FOLDER_SECONDS = 10
FREE_GB = 1


def cluster(settings: Settings) -> Iterator[Finding]:
    yield _user(settings)
    yield _shared_folder(settings)
    yield from _slurm(settings)
    yield from cluster_users.users(settings)
    yield from cluster_config.configuration(settings)


def _user(settings: Settings) -> Finding:
    name = "cluster user"
    slurm = settings.slurm
    with_account = sum("user" in given for given in slurm.users.values())
    others = "are refused" if slurm.unmapped == "refuse" else "run as the server's own account"
    if with_account:
        said = f"tasks of {with_account} users run as accounts of their own; those of others"
        if os.geteuid() != 0 or slurm.unmapped == "refuse":
            return Finding(name, f"{said} {others}")
    elif os.geteuid() != 0:
        return Finding(name, "tasks run as the server's own user, without containers")
    if slurm.allow_root:
        return Finding(
            name,
            "tasks run as root on the nodes",
            advice="Start the server as an account of its own that exists on the nodes too.",
        )
    fix = (
        "Start the server as an account that exists on the nodes too, or give all users accounts "
        '([slurm.users], [slurm] unmapped = "refuse").'
    )
    return Finding(name, "a server of root would run tasks as root on the nodes", fix)


def _shared_folder(settings: Settings) -> Finding:
    name = "shared folder"
    try:
        folder = tasks_folder(settings)
    except CannotStart as error:
        return Finding(name, "not set", str(error))
    # In a process of its own: a network disk that hangs would keep a thread for ever.
    command = ["sh", "-c", 'test -d "$1" && test -w "$1"', "probe", str(folder)]
    try:
        usable = subprocess.run(command, timeout=FOLDER_SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        fix = "Look at its file server and its mount."
        return Finding(name, f"{folder} does not answer in {FOLDER_SECONDS} s", fix)
    if not usable:
        fix = "Create it where all nodes see it under the same path, and give it to the server."
        return Finding(name, f"{folder} is not a folder that the server can write to", fix)
    try:
        check_shared(folder)
        free_gb = shutil.disk_usage(folder).free >> 30
    except OSError as error:
        return Finding(
            name, f"{folder} can't be written: {error.strerror}", "Mend its file system."
        )
    fix = "Free some of it." if free_gb < FREE_GB else ""
    return Finding(name, f"{folder}, {free_gb} GiB free", fix)


def _slurm(settings: Settings) -> Iterator[Finding]:
    name = "slurm"
    try:
        transport = transport_of(settings.slurm)
        version, nodes = asyncio.run(_look(transport))
    except CannotStart as error:
        yield Finding(name, "not set up", str(error))
        return
    except SlurmAway as error:
        fix = "Look at slurmctld (scontrol ping) and, with [slurm] transport rest, at slurmrestd."
        if "token" in str(error).lower() or "auth" in str(error).lower():
            fix = "Give the server a valid token: [slurm] token_file (scontrol token) or jwt_key."
        yield Finding(name, str(error), fix)
        return
    yield Finding(
        name,
        f"version {version} over {settings.slurm.transport}",
        advice=cluster_config.version(version),
    )
    yield from cluster_config.nodes(settings, nodes)


async def _look(transport: SlurmTransport) -> tuple[str, list[Node]]:
    try:
        version = await transport.open()
        await transport.states()
        return version, await transport.nodes()
    finally:
        await transport.close()
