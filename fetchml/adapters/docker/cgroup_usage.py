"""Use of a container, as the kernel counts it for its cgroups (version 1 or 2)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fetchml.adapters.docker.cgroups import Cgroups
from fetchml.ports.launcher import ResourceUse


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
