"""What works on this machine, what does not, and how to mend each."""

import asyncio
import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from docker.errors import DockerException

import fetchml
from fetchml import shim
from fetchml.adapters.docker.gpus import GpuAddress, GpuOffer, describes, offered
from fetchml.adapters.docker.sdk import connect
from fetchml.adapters.nvml.inventory import SILENT, NvmlInventory
from fetchml.config.address import Address
from fetchml.config.sections.scheduling import memory_for_tasks_gb
from fetchml.config.settings import Settings
from fetchml.config.tls import BadCertificate, configured_certificate
from fetchml.core.gpus.model import ObstacleKind
from fetchml.files.data_dir import holder, is_taken
from fetchml.files.layout import ADMIN_KEY
from fetchml.ops import bounds, pyinstaller
from fetchml.ports.gpu import GpuState
from fetchml.system import capabilities, host

ENGINE_SECONDS = 5
FEW_OPEN_FILES = 4096
FEW_WATCHES = 1024
FEW_INSTANCES = 16
"""Of inotify. The server needs one instance, and some watches for each running task; editors and
the like take theirs from the same user."""

GPU_SECONDS = 15.0
"""Drivers take some seconds to wake the GPUs of a large machine."""
INOTIFY = Path("/proc/sys/fs/inotify")
PCI_DEVICES = Path("/sys/bus/pci/devices")


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was looked at, and what was found."""

    name: str
    says: str
    mend: str = ""
    """What to do about a problem. Empty: there is none."""
    advice: str = ""
    """What would be safer, where all works as it is. Empty: nothing."""

    @property
    def ok(self) -> bool:
        return not self.mend


def examine(settings: Settings) -> Iterator[Check]:
    """All checks, one after the other; none changes anything."""
    running = _running(settings.data_dir)
    yield _data_dir(settings.data_dir)
    yield _admin_key(settings.data_dir)
    yield _disk(settings)
    yield _port("http port", settings.server.http, running=running)
    yield _port("grpc port", settings.server.grpc, running=running)
    yield _tls(settings)
    yield _clock(settings.data_dir)
    yield _open_files()
    yield _inotify()
    yield _resources(settings)
    yield task_limits(settings)
    yield _memory(settings)
    gpus = _inventory()
    yield from _gpus(settings, gpus)
    yield _shim()
    if settings.server.launcher == "docker":
        yield from _docker(settings, gpus)
    else:
        yield Check("launcher", "process: tasks run without isolation")


def _tls(settings: Settings) -> Check:
    try:
        certificate = configured_certificate(settings.server)
    except BadCertificate as error:
        return Check("tls", str(error), "Name a certificate and its private key, both in PEM.")
    if certificate is None:
        return Check("tls", "off: keys travel unencrypted")
    return Check("tls", f"on, with {settings.server.tls_cert}")


def _running(data_dir: Path) -> bool:
    try:
        return is_taken(data_dir)
    except OSError:
        return False  # another check says what is wrong with it


def _nearest(path: Path) -> Path:
    """The folder itself, or the one in which it would be made."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _data_dir(data_dir: Path) -> Check:
    name = "data directory"
    folder = _nearest(data_dir)
    if not folder.is_dir():
        return Check(name, f"{folder} is not a folder", "Choose another --data-dir.")
    if not os.access(folder, os.W_OK | os.X_OK):
        mend = f"Run as its owner, make it yours (chown {_user()} {folder}), or choose --data-dir."
        return Check(name, f"{folder} can't be written by {_user()}", mend)
    if folder != data_dir:
        return Check(name, f"{data_dir} will be made at the first start")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        return Check(name, f"{data_dir} is open to others ({mode:o})", f"chmod 700 {data_dir}")
    return Check(name, str(data_dir))


def _admin_key(data_dir: Path) -> Check:
    file = data_dir / ADMIN_KEY
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return Check("admin key", "none is kept here")
    if mode & 0o077:
        return Check("admin key", f"{file} is readable for others ({mode:o})", f"chmod 600 {file}")
    return Check("admin key", f"{file}, for its owner only")


def _disk(settings: Settings) -> Check:
    free = shutil.disk_usage(_nearest(settings.data_dir)).free >> 20
    least = settings.history.min_free_mb
    says = f"{free} MiB free"
    if free < least:
        mend = f"Free some space: below {least} MiB ([history] min_free_mb) no task is accepted."
        return Check("disk", says, mend)
    return Check("disk", says)


def _port(name: str, address: Address, *, running: bool) -> Check:
    try:
        address.probe()
    except OSError as error:
        if running:
            return Check(name, f"{address} is in use; a server runs on this data directory")
        mend = f"Stop what uses it (ss -ltnp), or choose another (--{name.partition(' ')[0]})."
        return Check(name, f"{address}: {error.strerror}", mend)
    return Check(name, f"{address} is free")


def _clock(data_dir: Path) -> Check:
    """Against what cannot lie in the future: this program, and what a server wrote."""
    program = Path(sys.executable if pyinstaller.is_frozen() else fetchml.__file__)
    written = [program, *data_dir.glob("store/*")]
    newest = max(file.stat().st_mtime for file in written)
    behind = newest - time.time()
    if behind > 1:
        mend = "Set it: timedatectl set-ntp true. Until then times are wrong."
        return Check("clock", f"behind by at least {behind:.0f} s", mend)
    return Check("clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def _open_files() -> Check:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FEW_OPEN_FILES:
        mend = "Raise it: ulimit -Hn 65536, or LimitNOFILE= of the service."
        return Check("open files", f"limit of {most}, too few for many clients", mend)
    return Check("open files", "no limit" if most == resource.RLIM_INFINITY else f"limit of {most}")


def _resources(settings: Settings) -> Check:
    cores, memory_gb = host.cores(), host.memory_gb()
    wanted = settings.resources
    says = f"{wanted.cpu} cores, {wanted.memory_gb} GiB, {settings.gpu.slots} GPU slots for tasks"
    if wanted.cpu > cores or wanted.memory_gb > memory_gb:
        mend = f"The machine has {cores} cores and {memory_gb} GiB: lower [resources]."
        return Check("resources", says, mend)
    return Check("resources", says)


def task_limits(settings: Settings) -> Check:
    """What [tasks] grants, against what there is."""
    tasks, resources = settings.tasks, settings.resources
    memory_gb = tasks.max_memory_gb or resources.memory_gb
    pairs = (
        ("cpu", tasks.cpu, tasks.max_cpu or resources.cpu),
        ("memory_gb", tasks.memory_gb, memory_gb),
        ("max_cpu", tasks.max_cpu, resources.cpu),
        ("max_memory_gb", tasks.max_memory_gb, resources.memory_gb),
        ("timeout_seconds", tasks.timeout_seconds, tasks.max_timeout_seconds or 1 << 31),
        ("tmp_mb", tasks.tmp_mb, memory_gb << 10),
        ("shm_mb", tasks.shm_mb, memory_gb << 10),
    )
    for name, value, most in pairs:
        if value > most:
            says = f"[tasks] {name} {value} is more than the {most} that a task may have"
            return Check("task limits", says, "Lower it, or raise the maximum.")
    total = host.memory_gb()
    if resources.memory_gb >= total > 1:
        says = f"tasks may take {resources.memory_gb} of the machine's {total} GiB"
        mend = f"Set [resources] memory_gb to {memory_for_tasks_gb()}, so that the host keeps some."
        return Check("task limits", says, mend)
    without = "any time" if not tasks.max_timeout_seconds else f"{tasks.max_timeout_seconds} s"
    return Check("task limits", f"at most {memory_gb} GiB, {tasks.pids} processes, {without}")


def _memory(settings: Settings) -> Check:
    """What all callers together can make the server hold."""
    most = bounds.total_bytes(settings)
    says = f"at most {most >> 20} MiB for the server, whatever its callers do"
    if most > host.memory_gb() << 30:
        return Check("memory", says, "The machine has less: lower [quotas] and [tasks] limits.")
    return Check("memory", says)


def _inotify() -> Check:
    limits = {
        name: int((INOTIFY / name).read_text())
        for name in ("max_user_instances", "max_user_watches")
    }
    says = ", ".join(f"{name} {limit}" for name, limit in limits.items())
    if limits["max_user_instances"] < FEW_INSTANCES or limits["max_user_watches"] < FEW_WATCHES:
        mend = "Raise them: sysctl fs.inotify.max_user_instances=128 fs.inotify.max_user_watches="
        return Check("inotify", says, f"{mend}65536")
    return Check("inotify", says)


def _gpus(settings: Settings, gpus: GpuState) -> Iterator[Check]:
    name, slots = "gpus", settings.gpu.slots
    if gpus.problem == SILENT:
        mend = "Look into the kernel's log (dmesg); a restart of the machine often helps."
        yield Check(name, SILENT, mend)
    elif gpus.problem:
        mend = ""
        if _has_nvidia_gpu():
            mend = "Install NVIDIA's driver and load it (modprobe nvidia, nvidia-smi)."
            if "exchanged" in gpus.problem:
                mend = "Restart the machine, so that the new driver is loaded."
        yield Check(name, gpus.problem + (f", {slots} plain GPU slots" if slots else ""), mend)
    else:
        count = len(gpus.gpus)
        unused = f"; [gpu] slots = {slots} is used instead" if slots else ""
        yield Check(name, f"{count} found, NVIDIA driver {gpus.driver}{unused}")
        yield from (Check(name, note, "See docs/gpu.md.") for note in gpus.notes)
    for reading, gpu in zip(gpus.readings, gpus.gpus, strict=True):
        says = f"{gpu.name}, {gpu.memory_mb >> 10} GiB, {gpu.uuid}: {gpu.blocked or 'free'}"
        ill = gpu.blocked is not None and gpu.blocked.kind is not ObstacleKind.BUSY
        mend = "End its work, then reset it (nvidia-smi --gpu-reset) or restart the machine."
        yield Check(f"gpu {reading.index}", says, mend if ill else "")


def _inventory() -> GpuState:
    async def look() -> GpuState:
        inventory = NvmlInventory(silent_seconds=GPU_SECONDS)
        await inventory.open(lambda _: None, lambda _: None)
        try:
            return inventory.state
        finally:
            await inventory.close()

    return asyncio.run(look())


def _has_nvidia_gpu() -> bool:
    """Whether one is on the bus, driver or not."""
    for device in PCI_DEVICES.glob("*"):
        try:
            vendor, kind = ((device / file).read_text() for file in ("vendor", "class"))
        except OSError:
            continue
        if vendor.strip() == "0x10de" and kind.startswith("0x03"):
            return True
    return False


def _shim() -> Check:
    """The file that starts every task; it ends at once when it is told nothing."""
    try:
        path = shim.path()
        subprocess.run([path], capture_output=True, timeout=5, check=False)
    except shim.UnsupportedMachineError as error:
        return Check("shim", str(error), "Use an x86-64 or aarch64 machine.")
    except (OSError, subprocess.TimeoutExpired) as error:
        mend = "Install FetchML where programs may be executed (no noexec mount)."
        return Check("shim", f"it does not run: {error}", mend)
    return Check("shim", path.name)


def _docker(settings: Settings, gpus: GpuState) -> Iterator[Check]:
    name = "docker"
    try:
        with closing(connect(ENGINE_SECONDS)) as engine:
            version = engine.version()["Version"]
            yield Check(name, f"engine {version} at {engine.base_url}")
            yield _gpus_in_containers(offered(engine.info()), gpus)
            image = settings.tasks.image
            here = bool(engine.images(name=image))
            says = "is here" if here else "is not here yet: the first task waits for its pull"
            yield Check("default image", f"{image} {says}")
            yield task_user(settings)
    except (DockerException, OSError) as error:
        where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        yield Check(name, f"no engine answers at {where}: {_reason(error)}", _mend_docker(error))


def task_user(settings: Settings) -> Check:
    name, user = "task user", settings.tasks.user
    if user != "auto":
        return Check(name, f"[tasks] user is {user}")
    if _may_hand_over(settings.data_dir):
        return Check(name, f"a uid for each user, from {settings.tasks.first_uid} on")
    # No problem that ends `doctor` with 1: this is what a server without root gets. Its containers
    # are apart by namespaces; a host that is checked by `doctor`'s exit code would never be well.
    return Check(
        name,
        "containers of all users run as the server's own uid and count against its limits, such "
        "as inotify instances",
        advice="Run the server as the service (fetchml service install, again if an older release "
        "installed it) or as root: each user then has a uid of their own. See docs/security.md, "
        "The user.",
    )


def _may_hand_over(data_dir: Path) -> bool:
    """Whether the server that runs there gives files to other users; if none runs, whether one
    that is started from here would."""
    try:
        return capabilities.may_hand_over(holder(data_dir))
    except OSError:  # it has just ended, or its data directory may not be looked at
        return capabilities.may_hand_over()


def _gpus_in_containers(offer: GpuOffer, gpus: GpuState) -> Check:
    name = "gpus in containers"
    for reading in gpus.readings:
        address = GpuAddress(reading.index, reading.minor)
        if not reading.lost and (why := describes(offer, reading.uuid, address)):
            says, _, mend = why.partition(". ")
            return Check(name, says, f"{mend}.")
    if offer.cdi:
        return Check(name, f"through CDI: {', '.join(device.name for device in offer.cdi[:9])}")
    if offer.runtime:
        return Check(name, "through NVIDIA's runtime")
    return Check(name, "none: the engine has neither CDI devices of NVIDIA nor NVIDIA's runtime")


def _reason(error: BaseException) -> str:
    """The innermost cause: the libraries wrap it in a page of words."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error)


def _mend_docker(error: Exception) -> str:
    if "Permission denied" in repr(error):
        return f"Let {_user()} use Docker (usermod -aG docker {_user()}, then log in again)."
    if shutil.which("dockerd") is None:
        first = "Install Docker (apt-get install docker.io)"
    else:
        first = "Start it (systemctl start docker)"
    return f"{first}, set DOCKER_HOST, or use --launcher process."


def _user() -> str:
    return os.environ.get("USER") or str(os.geteuid())
