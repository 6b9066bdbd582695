"""The shim, and Docker with its GPUs and users."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from docker import APIClient
from docker.errors import DockerException, NotFound

from fetchml import shim
from fetchml.adapters.docker.container_config import INSTANCE_LABEL
from fetchml.adapters.docker.container_gpus import GpuAddress, GpuOffer, describes, offered
from fetchml.adapters.docker.metadata_rules import RulesRefused, commands, is_closed
from fetchml.adapters.docker.network import OWN, interface_of
from fetchml.adapters.docker.sdk import connect
from fetchml.config.settings import Settings
from fetchml.files.data_dir import holder
from fetchml.ops.checks.host import user_name
from fetchml.ports.gpu import GpuState
from fetchml.system import capabilities
from fetchml.views import Finding

ENGINE_SECONDS = 5


def shim_runs() -> Finding:
    """Run the file that starts every task; without arguments it ends at once."""
    try:
        path = shim.path()
        subprocess.run([path], capture_output=True, timeout=5, check=False)
    except shim.UnsupportedMachineError as error:
        return Finding("shim", str(error), "Use an x86-64 or aarch64 host.")
    except (OSError, subprocess.TimeoutExpired) as error:
        fix = "Install FetchML where programs may be executed (no noexec mount)."
        return Finding("shim", f"it does not run: {error}", fix)
    return Finding("shim", path.name)


def docker(settings: Settings, gpus: GpuState) -> Iterator[Finding]:
    name = "docker"
    try:
        with closing(connect(ENGINE_SECONDS)) as engine:
            version = engine.version()["Version"]
            yield Finding(name, f"engine {version} at {engine.base_url}")
            yield _gpus_in_containers(offered(engine.info()), gpus)
            image = settings.tasks.image
            here = bool(engine.images(name=image))
            state = "is here" if here else "is not here yet: the first task waits for its pull"
            yield Finding("default image", f"{image} {state}")
            yield task_user(settings)
            if (finding := _metadata(settings, engine)) is not None:
                yield finding
    except (DockerException, OSError) as error:
        where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        yield Finding(
            name, f"no response from an engine at {where}: {_reason(error)}", _docker_fix(error)
        )


def _metadata(settings: Settings, engine: APIClient) -> Finding | None:
    """Whether containers reach the cloud's metadata service. `None` if they may, or have no
    network."""
    name, network = "cloud metadata", settings.tasks.network
    if network == "none" or settings.tasks.allow_metadata:
        return None
    try:
        if network == OWN:
            bridges = [
                interface_of(each)
                for each in engine.networks(filters={"label": INSTANCE_LABEL})
                if each["Driver"] == "bridge"
            ]
        else:
            bridges = [interface_of(engine.inspect_network(network))]
        if bridges and all(map(is_closed, bridges)):
            return Finding(name, "closed to containers")
        if network == OWN and not bridges and os.geteuid() == 0:
            return Finding(name, "closed to containers once the first one starts")
        finding = "open to containers, if this host has such a service"
    except NotFound:
        return None  # The task that needs the network reports it.
    except RulesRefused as error:
        finding = f"perhaps open to containers; the rules can't be read: {error}"
    # Advice and not a problem: most hosts have no such service.
    return Finding(name, finding, advice=f"Run as root: {'; '.join(commands())}")


def task_user(settings: Settings) -> Finding:
    name, user = "task user", settings.tasks.user
    if user != "auto":
        return Finding(name, f"[tasks] user is {user}")
    if _may_hand_over(settings.data_dir):
        return Finding(name, f"a uid for each user, from {settings.tasks.first_uid} on")
    # Advice and not a problem, which would end `doctor` with 1: every server without root is like
    # this, and namespaces isolate its containers.
    return Finding(
        name,
        "containers of all users run as the server's own uid and count against its limits, such "
        "as inotify instances",
        advice="Run the server as the service (fetchml service install, again if an older release "
        "installed it) or as root: each user then has a uid of their own. See docs/security.md, "
        "The user.",
    )


def _may_hand_over(data_dir: Path) -> bool:
    """Return whether the server that runs there gives files to other users; if none runs, whether
    a server started by this user would."""
    try:
        return capabilities.may_hand_over(holder(data_dir))
    except OSError:  # It has just ended, or its data directory cannot be read.
        return capabilities.may_hand_over()


def _gpus_in_containers(offer: GpuOffer, gpus: GpuState) -> Finding:
    name = "gpus in containers"
    for reading in gpus.readings:
        address = GpuAddress(reading.index, reading.minor)
        if not reading.lost and (why := describes(offer, reading.uuid, address)):
            finding, _, fix = why.partition(". ")
            return Finding(name, finding, f"{fix}.")
    if offer.cdi:
        return Finding(name, f"through CDI: {', '.join(device.name for device in offer.cdi[:9])}")
    if offer.runtime:
        return Finding(name, "through NVIDIA's runtime")
    return Finding(name, "none: the engine has neither CDI devices of NVIDIA nor NVIDIA's runtime")


def _reason(error: BaseException) -> str:
    """Return the innermost cause: the libraries wrap it in long messages."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error)


def _docker_fix(error: Exception) -> str:
    if "Permission denied" in repr(error):
        return (
            f"Let {user_name()} use Docker (usermod -aG docker {user_name()}, then log in again)."
        )
    if shutil.which("dockerd") is None:
        first = "Install Docker (apt-get install docker.io)"
    else:
        first = "Start it (systemctl start docker)"
    return f"{first}, set DOCKER_HOST, or use --launcher process."
