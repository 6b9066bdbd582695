"""Finds a container's first process without asking the engine, where both are on one machine."""

import re
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")


class Cgroups:
    """How this engine names the cgroups of its containers, learnt from one that it told of."""

    def __init__(self) -> None:
        self._folder = ""
        """Of a container's processes; the container's id is left out."""
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
            if (folder / "cgroup.procs").exists():
                self._folder = str(folder).replace(container_id, "{}")
                self._namespaces = len(_numbers(pid))
                return

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
