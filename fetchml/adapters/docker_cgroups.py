"""What the kernel knows of a container, without asking the engine, where both are on one machine:
its first process, and whether it ran out of memory."""

import re
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_OOM_FILES = ("memory.events", "memory.oom_control")
"""Of version 2 and of version 1. Both count the processes that were killed."""
_OOM_KILLS = re.compile(r"^oom_kill [1-9]", re.MULTILINE)


class Cgroups:
    """How this engine names the cgroups of its containers, learnt from one that it told of."""

    def __init__(self) -> None:
        self._folder = ""
        """Of a container's processes; the container's id is left out."""
        self._namespaces = 0
        self._memory = ""
        """Of the memory controller, likewise; empty: not known."""
        self._namespaces = 0
        """How many process namespaces, seen from here, a container's first process is in."""

    def learn(self, pid: int, container_id: str) -> None:
        """`pid`: of the container's first process, if that is on this machine."""
        for line in _read(Path(f"/proc/{pid}/cgroup")).splitlines():
            _, controllers, path = line.split(":", 2)
            if container_id not in path:
                continue
            # Version 2 has no controllers here; version 1 has a hierarchy for each.
            folder = _MOUNT / controllers / path.removeprefix("/")
            if not (folder / "cgroup.procs").exists():
                continue
            pattern = str(folder).replace(container_id, "{}")
            if not self._folder:
                self._folder = pattern
                self._namespaces = len(_numbers(pid))
            if any((folder / name).exists() for name in _OOM_FILES):
                self._memory = pattern

    def first_process(self, container_id: str) -> int | None:
        """None: not known here, so the engine has to be asked."""
        if not self._folder:
            return None
        folder = Path(self._folder.replace("{}", container_id))
        for pid in _read(folder / "cgroup.procs").split():
            numbers = _numbers(int(pid))
            if len(numbers) == self._namespaces and numbers[-1] == "1":
                return int(pid)
        return None

    def ran_out_of_memory(self, container_id: str) -> bool:
        """Whether the kernel has killed a process of the container for want of memory. False also
        when that is not known, or no longer: the container's cgroup is removed with it."""
        if not self._memory:
            return False
        folder = Path(self._memory.replace("{}", container_id))
        return any(_OOM_KILLS.search(_read(folder / name)) for name in _OOM_FILES)


def _numbers(pid: int) -> list[str]:
    """Of a process in each of its namespaces, the innermost last; empty when it is gone."""
    found = re.search(r"^NSpid:(.*)$", _read(Path(f"/proc/{pid}/status")), re.MULTILINE)
    return found[1].split() if found else []


def _read(path: Path) -> str:
    """Empty when it is not there, or no longer."""
    try:
        return path.read_text()
    except OSError:
        return ""
