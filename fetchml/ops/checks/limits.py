"""Limits of the host and of the settings."""

import resource
from pathlib import Path

from fetchml.config.settings import Settings, memory_for_tasks_gb
from fetchml.system import host
from fetchml.views import Finding

FEW_OPEN_FILES = 4096
FEW_WATCHES = 1024
"""Of inotify. The server needs some watches for each running task; editors and the like take theirs
from the same user."""
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
