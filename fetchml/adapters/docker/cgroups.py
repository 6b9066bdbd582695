"""Finds a container's first process and its cgroups without the engine, if all are on this host."""

import re
from pathlib import Path

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
        found: dict[str, Path] = {}
        for line in _read(Path(f"/proc/{pid}/cgroup")).splitlines():
            _, controllers, path = line.split(":", 2)
            # Version 2 has no controllers here; version 1 has a hierarchy for each.
            folder = _MOUNT / controllers / path.removeprefix("/")
            if container_id in path and (folder / "cgroup.procs").exists():
                found |= dict.fromkeys(controllers.split(","), folder)
        if found:
            self._controllers = {
                name: str(folder).replace(container_id, "{}") for name, folder in found.items()
            }
            self._folder = next(iter(self._controllers.values()))
            self._namespaces = len(_numbers(pid))

    def folder(self, container_id: str, controller: str) -> Path | None:
        """Return the folder with a controller's files; `None` if it is not known."""
        known = self._controllers.get("") or self._controllers.get(controller)
        return Path(known.replace("{}", container_id)) if known else None

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
    found = re.search(r"^NSpid:(.*)$", _read(Path(f"/proc/{pid}/status")), re.MULTILINE)
    return found[1].split() if found else []


def _read(path: Path) -> str:
    """Return the content of a file; empty if it does not exist."""
    try:
        return path.read_text()
    except OSError:
        return ""
