"""Processes of servers under test: their memory, and the end of the tasks they leave."""

import resource
import signal
from collections.abc import Iterable
from pathlib import Path

from fetchml.system import processes


def resident_bytes(*pids: int) -> int:
    """Memory of these processes together."""
    pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in pids]
    return sum(map(int, pages)) * resource.getpagesize()


def kill_tasks(task_folders: Iterable[Path]) -> None:
    """End the processes of these tasks: they outlive their server, also those not yet begun."""
    marks = {f"FETCHML_TASK_ID={folder.name}" for folder in task_folders}
    is_theirs = lambda pid: bool(marks.intersection(processes.environment(pid)))  # noqa: E731
    with processes.opened(processes.pids(), is_theirs) as left:
        for pidfd in left:
            processes.send(pidfd, signal.SIGKILL)
