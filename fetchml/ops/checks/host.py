"""The host: the data directory, the disk, the ports, the certificate, the GPUs, and the limits."""

import asyncio
import os
import resource
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fetchml
from fetchml.adapters.nvml.inventory import SILENT, NvmlInventory
from fetchml.config.address import Address
from fetchml.config.settings import Settings, memory_for_tasks_gb
from fetchml.config.tls import BadCertificate, configured_certificate
from fetchml.core.gpus.allocator import ObstacleKind
from fetchml.core.requests.volumes import Volume, overlap_fault, path_fault
from fetchml.files.layout import ADMIN_KEY
from fetchml.ops import pyinstaller
from fetchml.ports.gpu import GpuState
from fetchml.server.volumes import datasets_root, own_folders
from fetchml.system import host
from fetchml.views import Finding


def data_dir(data_dir: Path) -> Finding:
    name = "data directory"
    folder = _nearest(data_dir)
    if not folder.is_dir():
        return Finding(name, f"{folder} is not a folder", "Choose another --data-dir.")
    if not os.access(folder, os.W_OK | os.X_OK):
        fix = (
            f"Run as its owner, make it yours (chown {user_name()} {folder}), or choose --data-dir."
        )
        return Finding(name, f"{user_name()} cannot write to {folder}", fix)
    if folder != data_dir:
        return Finding(name, f"{data_dir} is created at the first start")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        return Finding(name, f"{data_dir} is open to others ({mode:o})", f"chmod 700 {data_dir}")
    return Finding(name, str(data_dir))


def admin_key(data_dir: Path) -> Finding:
    file = data_dir / ADMIN_KEY
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return Finding("admin key", "none is kept here")
    if mode & 0o077:
        return Finding(
            "admin key", f"{file} is readable for others ({mode:o})", f"chmod 600 {file}"
        )
    return Finding("admin key", f"{file}, for its owner only")


def disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_nearest(settings.data_dir)).free
    least = settings.history.min_free_mb
    finding = f"{free >> 20} MiB free" if free < 10 << 30 else f"{free >> 30} GiB free"
    if free >> 20 < least:
        fix = f"Free some space: below {least} MiB ([history] min_free_mb) no task is accepted."
        return Finding("disk", finding, fix)
    return Finding("disk", finding)


def port(name: str, address: Address, *, running: bool) -> Finding:
    try:
        address.probe()
    except OSError as error:
        if running:
            return Finding(name, f"{address} is in use; a server runs on this data directory")
        fix = f"Stop what uses it (ss -ltnp), or choose another (--{name.partition(' ')[0]})."
        return Finding(name, f"{address}: {error.strerror}", fix)
    return Finding(name, f"{address} is free")


def grpc_network(address: Address) -> Finding:
    name = "grpc network"
    if address.is_loopback:
        return Finding(name, f"{address}: this host only")
    return Finding(
        name,
        f"{address} can be reached from other hosts",
        advice="If strangers can reach it, put Envoy in front (docs/envoy.md) and listen on "
        "127.0.0.1: gRPC reads more of a client without a key than the server can limit.",
    )


def tls(settings: Settings) -> Finding:
    try:
        certificate = configured_certificate(settings.server)
    except BadCertificate as error:
        return Finding("tls", str(error), "Name a certificate and its private key, both in PEM.")
    if certificate is None:
        return Finding("tls", "off: keys travel unencrypted")
    return Finding("tls", f"on, with {settings.server.tls_cert}")


def clock(data_dir: Path) -> Finding:
    """Compare with files that cannot be of the future: this program, and what a server wrote."""
    program = Path(sys.executable if pyinstaller.is_frozen() else fetchml.__file__)
    written = [program, *data_dir.glob("store/*")]
    newest = max(file.stat().st_mtime for file in written)
    behind = newest - time.time()
    if behind > 1:
        fix = "Set it: timedatectl set-ntp true. Until then times are wrong."
        return Finding("clock", f"behind by at least {behind:.0f} s", fix)
    return Finding("clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def _nearest(path: Path) -> Path:
    """Return the folder itself, or the existing one in which it would be made."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def user_name() -> str:
    return os.environ.get("USER") or str(os.geteuid())


def volumes(settings: Settings) -> Iterator[Finding]:
    """Whether each volume of the settings is a folder that may be one."""
    own = own_folders(settings)
    volumes = {
        name: Volume(str(volume.path.resolve()), volume.mode == "ro")
        for name, volume in settings.volumes.items()
    }
    if fault := overlap_fault(volumes, datasets_root(settings)):
        yield Finding("volumes", "two folders lie in one another", f"{fault}.")
    for name, volume in settings.volumes.items():
        path = volume.path.resolve()
        shown = f"volume {name}"
        setting = f"[volumes.{name}] path"
        if fault := path_fault(str(path), own):
            yield Finding(shown, fault, f"Name another folder in {setting}.")
        elif not path.is_dir():
            fix = f"Create or mount it, or change {setting}: its tasks can't start."
            yield Finding(shown, f"{path} is not a folder", fix)
        else:
            users = ", ".join(volume.users) or "every user"
            most = f", up to {volume.max_gb} GiB" if volume.max_gb else ""
            yield Finding(shown, f"{path} ({volume.mode}), for {users}{most}")


FEW_OPEN_FILES = 4096
FEW_WATCHES = 1024
"""Minimum of inotify watches. The server needs some for each running task; other programs of the
same user, such as editors, use them too."""
FEW_INSTANCES = 16
"""Of inotify. The server needs one."""
INOTIFY = Path("/proc/sys/fs/inotify")


def open_files() -> Finding:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FEW_OPEN_FILES:
        fix = "Raise it: ulimit -Hn 65536, or LimitNOFILE= of the service."
        return Finding("open files", f"limit of {most}, too few for many clients", fix)
    return Finding(
        "open files", "no limit" if most == resource.RLIM_INFINITY else f"limit of {most}"
    )


def inotify() -> Finding:
    limits = {
        name: int((INOTIFY / name).read_text())
        for name in ("max_user_instances", "max_user_watches")
    }
    finding = ", ".join(f"{name} {limit}" for name, limit in limits.items())
    if limits["max_user_instances"] < FEW_INSTANCES or limits["max_user_watches"] < FEW_WATCHES:
        fix = "Raise them: sysctl fs.inotify.max_user_instances=128 fs.inotify.max_user_watches="
        return Finding("inotify", finding, f"{fix}65536")
    return Finding("inotify", finding)


def resources(settings: Settings) -> Finding:
    cores, memory_gb = host.cores(), host.memory_gb()
    wanted = settings.resources
    finding = (
        f"{wanted.cpu} cores, {wanted.memory_gb} GiB, {settings.gpu.slots} GPU slots for tasks"
    )
    if wanted.cpu > cores or wanted.memory_gb > memory_gb:
        fix = f"This host has {cores} cores and {memory_gb} GiB: lower [resources]."
        return Finding("resources", finding, fix)
    return Finding("resources", finding)


def task_limits(settings: Settings) -> Finding:
    """Compare what [tasks] grants with what the host has."""
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
            finding = f"[tasks] {name} {value} is more than the {most} that a task may have"
            return Finding("task limits", finding, "Lower it, or raise the maximum.")
    total = host.memory_gb()
    if resources.memory_gb >= total > 1:
        finding = f"tasks may take {resources.memory_gb} of the host's {total} GiB"
        fix = f"Set [resources] memory_gb to {memory_for_tasks_gb()}, so that the host keeps some."
        return Finding("task limits", finding, fix)
    without = "any time" if not tasks.max_timeout_seconds else f"{tasks.max_timeout_seconds} s"
    return Finding("task limits", f"at most {memory_gb} GiB, {tasks.pids} processes, {without}")


GPU_SECONDS = 15.0
"""Drivers take some seconds to wake the GPUs of a large host."""
PCI_DEVICES = Path("/sys/bus/pci/devices")


def gpus(settings: Settings, gpus: GpuState) -> Iterator[Finding]:
    name, slots = "gpus", settings.gpu.slots
    if gpus.problem == SILENT:
        fix = "See the kernel's log (dmesg); a restart of the host often helps."
        yield Finding(name, SILENT, fix)
    elif gpus.problem:
        fix = ""
        if _has_nvidia_gpu():
            fix = "Install NVIDIA's driver and load it (modprobe nvidia, nvidia-smi)."
            if "exchanged" in gpus.problem:
                fix = "Restart the host, so that the new driver is loaded."
        yield Finding(name, gpus.problem + (f", {slots} plain GPU slots" if slots else ""), fix)
    else:
        count = len(gpus.gpus)
        unused = f"; [gpu] slots = {slots} is used instead" if slots else ""
        yield Finding(name, f"{count} found, NVIDIA driver {gpus.driver}{unused}")
        yield from (Finding(name, note, "See docs/gpu.md.") for note in gpus.notes)
    if settings.gpu.packing and (slots or settings.gpu.slots_per_gpu == 1):
        lacks = "plain slots have no memory" if slots else "no GPU has more than one slot"
        fix = "Set [gpu] slots_per_gpu, and no [gpu] slots; or leave out [gpu] packing."
        yield Finding("packing", f"[gpu] packing lets no tasks share a GPU: {lacks}", fix)
    for reading, gpu in zip(gpus.readings, gpus.gpus, strict=True):
        finding = f"{gpu.name}, {gpu.memory_mb >> 10} GiB, {gpu.uuid}: {gpu.blocked or 'free'}"
        ill = gpu.blocked is not None and gpu.blocked.kind is not ObstacleKind.BUSY
        fix = "End its work, then reset it (nvidia-smi --gpu-reset) or restart the host."
        yield Finding(f"gpu {reading.index}", finding, fix if ill else "")


def inventory() -> GpuState:
    async def read() -> GpuState:
        inventory = NvmlInventory(silent_seconds=GPU_SECONDS)
        await inventory.open(lambda _: None, lambda _: None)
        try:
            return inventory.state
        finally:
            await inventory.close()

    return asyncio.run(read())


def _has_nvidia_gpu() -> bool:
    """Return whether the bus has one, with or without a driver."""
    for device in PCI_DEVICES.glob("*"):
        try:
            vendor, kind = ((device / file).read_text() for file in ("vendor", "class"))
        except OSError:
            continue
        if vendor.strip() == "0x10de" and kind.startswith("0x03"):
            return True
    return False
