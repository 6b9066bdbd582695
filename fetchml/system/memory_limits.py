"""The memory that a process may take: the memory of the host, or that of its control group."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fetchml.system import host

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
"""Version 1 of control groups has no word for it, but a number above this."""


class MemoryLimit(NamedTuple):
    most_bytes: int
    source: str
    """Name of the limit, as the end of a sentence: `this host`."""


def of_host() -> MemoryLimit:
    return MemoryLimit(host.memory_mb() << 20, "this host")


def of_process(
    pid: int | None = None, proc: Path = PROC, cgroups: Path = CGROUPS
) -> MemoryLimit | None:
    """Return the lowest limit of the control groups that a process is in, one inside of the other;
    `None` if none of them has one. `pid`: `None` for this process. `proc`, `cgroups`: where the
    kernel shows them."""
    try:
        lines = (proc / str(pid or "self") / "cgroup").read_text().splitlines()
    except OSError:
        return None
    limits = [limit for line in lines for limit in _limits(line, cgroups)]
    return min(limits, default=None)


def _limits(line: str, cgroups: Path) -> Iterator[MemoryLimit]:
    """Yield the limits of the groups in one line of /proc/PID/cgroup."""
    _, controllers, path = line.split(":", 2)
    if not controllers:
        root, name = cgroups, "memory.max"
    elif "memory" in controllers.split(","):
        root, name = cgroups / "memory", "memory.limit_in_bytes"
    else:
        return
    folder = Path(os.path.normpath("/" + path.lstrip("/")))
    for group in (folder, *folder.parents):
        try:
            content = (root / group.relative_to("/") / name).read_text().strip()
        except OSError:
            continue
        if content.isdecimal() and int(content) < _UNLIMITED:
            yield MemoryLimit(int(content), f"{name} of the control group {group}")
