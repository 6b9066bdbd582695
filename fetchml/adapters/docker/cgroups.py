"""A container's cgroups (version 1 or 2), read without the engine if both are on this host: its
first process, and the resources that it uses.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fetchml.ports.launcher import ResourceUse

_MOUNT = Path("/sys/fs/cgroup")


class Cgroups:
    """The engine's naming of container cgroups, learned from one container."""

    def __init__(self) -> None:
        self._folder = ""
        """Cgroup folder of a container's processes, with {} for the container's id."""
        self._controllers: dict[str, str] = {}
        """Such a folder for each controller. Version 2 has one for all: its key is empty."""
        self._namespaces = 0
        """Number of nested process namespaces of a container's first process, seen from here."""

    def learn(self, pid: int, container_id: str) -> None:
        """`pid` is that of the container's first process, if it runs on this host."""
        mount_points: dict[str, Path] = {}
        for line in _read(Path(f"/proc/{pid}/cgroup")).splitlines():
            _, controllers, path = line.split(":", 2)
            # Version 2 has no controllers here; version 1 has a hierarchy for each.
            folder = _MOUNT / controllers / path.removeprefix("/")
            if container_id in path and (folder / "cgroup.procs").exists():
                mount_points |= dict.fromkeys(controllers.split(","), folder)
        if mount_points:
            self._controllers = {
                name: str(folder).replace(container_id, "{}")
                for name, folder in mount_points.items()
            }
            self._folder = next(iter(self._controllers.values()))
            self._namespaces = len(_numbers(pid))

    def folder(self, container_id: str, controller: str) -> Path | None:
        """Return the folder with a controller's files; `None` if it is not known."""
        mount_point = self._controllers.get("") or self._controllers.get(controller)
        return Path(mount_point.replace("{}", container_id)) if mount_point else None

    def first_process(self, container_id: str) -> int | None:
        """Return the process id; `None` if only the engine has it."""
        if not self._folder:
            return None
        folder = Path(self._folder.replace("{}", container_id))
        for pid in _read(folder / "cgroup.procs").split():
            numbers = _numbers(int(pid))
            if len(numbers) == self._namespaces and numbers[-1] == "1":
                return int(pid)
        return None


def _numbers(pid: int) -> list[str]:
    """Return the ids of a process in each of its namespaces, innermost last; empty if it is
    gone."""
    match = re.search(r"^NSpid:(.*)$", _read(Path(f"/proc/{pid}/status")), re.MULTILINE)
    return match[1].split() if match else []


def _read(path: Path) -> str:
    """Return the content of a file; empty if it does not exist."""
    try:
        return path.read_text()
    except OSError:
        return ""


def usage_of(cgroups: Cgroups, container_id: str) -> ResourceUse | None:
    """Return what the container's processes have used; `None` if the kernel does not show it here.

    The memory is without the files that the kernel can drop at once, as `docker stats` has it.
    """
    cpu = cgroups.folder(container_id, "cpuacct")
    memory = cgroups.folder(container_id, "memory")
    if cpu is None or memory is None:
        return None
    try:
        read, written = _disk_bytes(cgroups.folder(container_id, "blkio"))
        return ResourceUse(
            cpu_ms=_cpu_ms(cpu),
            memory_kb=_memory_bytes(memory) >> 10,
            read_kb=read >> 10,
            write_kb=written >> 10,
        )
    except (OSError, ValueError, KeyError):
        return None  # It has just ended, or is one of another host.


def _cpu_ms(folder: Path) -> int:
    with suppress(FileNotFoundError):
        return int((folder / "cpuacct.usage").read_text()) // 1_000_000
    return int(_table(folder / "cpu.stat")["usage_usec"]) // 1000


def _memory_bytes(folder: Path) -> int:
    droppable = _table(folder / "memory.stat")
    with suppress(FileNotFoundError):
        used = int((folder / "memory.usage_in_bytes").read_text())
        return max(0, used - int(droppable["total_inactive_file"]))
    used = int((folder / "memory.current").read_text())
    return max(0, used - int(droppable["inactive_file"]))


def _disk_bytes(folder: Path | None) -> tuple[int, int]:
    """Return the bytes read and written; (0, 0) if the host does not count them."""
    if folder is None:
        return 0, 0
    read = written = 0
    for kind, count in _disk_counts(folder):
        if kind in ("Read", "rbytes"):
            read += count
        elif kind in ("Write", "wbytes"):
            written += count
    return read, written


def _disk_counts(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the counts of each device. Version 1: `8:0 Read 4096`; version 2: `8:0 rbytes=4096`."""
    with suppress(FileNotFoundError):
        for line in (folder / "blkio.throttle.io_service_bytes").read_text().splitlines():
            words = line.split()
            if len(words) == 3:
                yield words[1], int(words[2])
        return
    with suppress(FileNotFoundError):
        for line in (folder / "io.stat").read_text().splitlines():
            for pair in line.split()[1:]:
                kind, _, count = pair.partition("=")
                yield kind, int(count)


def _table(file: Path) -> dict[str, str]:
    lines = file.read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)
