"""Disk use by user, its quotas, and which task is ended when the disk fills up."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.core.model import Kept, Server, Task


class Kind(StrEnum):
    """Kinds of files on the disk. The names are on the wire."""

    SNAPSHOTS = "snapshots"
    """Uploaded code. A snapshot that several users uploaded counts for each of them."""
    WORKSPACES = "workspaces"
    """Private copies of snapshots, with what live tasks write to /workspace."""
    OUTPUTS = "outputs"
    """Files that tasks left in /outputs, and their checkpoints."""
    LOGS = "logs"
    """Logs of all attempts, with the records of their ends."""
    JUPYTER = "jupyter"
    """Workspaces of Jupyter services. Each counts for the user who named it first."""
    ENVIRONMENTS = "environments"
    """Installed packages for tasks, with uv's cache of the user."""
    ARTIFACTS = "artifacts"
    """Files that runs and logged models keep."""


class Used(NamedTuple):
    """Disk use in whole blocks, and the number of files and folders."""

    bytes: int = 0
    files: int = 0

    def plus(self, other: "Used") -> "Used":
        return Used(self.bytes + other.bytes, self.files + other.files)

    def minus(self, other: "Used") -> "Used":
        return Used(self.bytes - other.bytes, self.files - other.files)


NOTHING = Used()
BLOCK_BYTES = 4096
"""Least disk use of a file or folder on current file systems."""


def on_disk(size: int) -> int:
    """Disk use of a file of `size` bytes with its inode: one block more than it fills."""
    return (-(-size // BLOCK_BYTES) + 1) * BLOCK_BYTES


def kept_outputs(stored: Kept | None) -> Used:
    return NOTHING if stored is None else Used(stored.outputs_bytes, stored.outputs_files)


def kept_logs(stored: Kept | None) -> Used:
    return NOTHING if stored is None else Used(stored.logs_bytes, stored.logs_files)


def after_attempt(before: Kept | None, attempt: Kept) -> Kept:
    """Disk use of a task after an attempt: its outputs replace earlier ones, its log is added."""
    logs = kept_logs(before).plus(kept_logs(attempt))
    return replace(attempt, logs_bytes=logs.bytes, logs_files=logs.files)


def quota_fault(used: Mapping[Kind, Used], allowed_bytes: int, more_bytes: int = 0) -> str | None:
    """Return why a user may store nothing more, or not `more_bytes`; `None` if they may.

    `allowed_bytes`: the quota; 0 if there is none.
    """
    if not allowed_bytes:
        return None
    total = 0
    for each in used.values():
        total += each.bytes
    if total < allowed_bytes and total + more_bytes <= allowed_bytes:
        return None
    largest = sorted(used.items(), key=lambda each: -each[1].bytes)
    kinds = ", ".join(f"{kind} {size(each.bytes)}" for kind, each in largest if each.bytes)
    wanted = f", and this takes {size(more_bytes)} more" if more_bytes else ""
    return (
        f"Storage quota reached: {size(total)} ({kinds or 'nothing'}) of "
        f"{size(allowed_bytes)} allowed{wanted}: remove some ('fetchml prune', 'fetchml rm', "
        "'fetchml snapshot rm'), or ask an admin to raise [quotas] user_storage_gb"
    )


def size(number: int) -> str:
    """Format a number of bytes in the largest unit that keeps it at 1 or more."""
    value = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{number} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


class Live(NamedTuple):
    """Disk use of a live task."""

    task: Task
    used: Used
    grown_bytes: int
    """Growth since the last measurement; all of it at the first."""


class Excess(NamedTuple):
    """A task that the server ends for its disk use."""

    task: Task
    by: Server


LEAST_GROWTH_BYTES = 16 << 20
"""A task that wrote less since the last measurement has not filled the disk."""


def excess(
    live: Iterable[Live], *, allowed_bytes: int, free_bytes: int, least_free_bytes: int
) -> list[Excess]:
    """Choose the tasks to end now, except those that are already being cancelled.

    Of each user over the quota, the largest task. If less than `least_free_bytes` is free and none
    is over a quota, the task that has grown most.
    """
    by_user: dict[str, list[Live]] = {}
    for each in live:
        if each.task.cancel is None:
            by_user.setdefault(each.task.user, []).append(each)
    chosen: dict[str, Excess] = {}
    for tasks in by_user.values():
        total = sum(each.used.bytes for each in tasks)
        if allowed_bytes and total > allowed_bytes:
            largest = max(tasks, key=lambda each: each.used.bytes)
            why = (
                f"the server: the user's running tasks have written {size(total)}, this one "
                f"{size(largest.used.bytes)}, and {size(allowed_bytes)} are allowed "
                "([quotas] user_storage_gb)"
            )
            chosen[largest.task.id] = Excess(largest.task, Server(why))
    if free_bytes < least_free_bytes:
        left = [each for tasks in by_user.values() for each in tasks if each.task.id not in chosen]
        most = max(left, key=lambda each: each.grown_bytes, default=None)
        if most is not None and most.grown_bytes >= LEAST_GROWTH_BYTES and not chosen:
            why = (
                f"the server: its disk is nearly full, and this task wrote most, "
                f"{size(most.grown_bytes)} in a short time"
            )
            chosen[most.task.id] = Excess(most.task, Server(why))
    return list(chosen.values())
