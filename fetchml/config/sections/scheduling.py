"""Settings of quotas, and of the order in which tasks start."""

from typing import Annotated, Literal

import msgspec

from fetchml.config.sections.types import AtLeastOne, Count, Percent, about
from fetchml.system import host


def memory_for_tasks_gb() -> int:
    """The host's memory but an eighth, at most 8 GiB, which its other processes keep."""
    total = host.memory_mb()
    return max(1, total - min(total // 8, 8192) >> 10)


class ResourceSettings(msgspec.Struct, frozen=True):
    """`[resources]`"""

    cpu: Annotated[
        Count, about("CPU cores that all tasks together may hold.", default="all of the host")
    ] = msgspec.field(default_factory=host.cores)
    memory_gb: Annotated[
        Count,
        about(
            "Memory, in GiB, that all tasks together may hold, and the memory limit of a "
            "container whose task requests none.",
            default="all of the host but an eighth, or but 8 GiB if that is less",
        ),
    ] = msgspec.field(default_factory=memory_for_tasks_gb)


class GpuSettings(msgspec.Struct, frozen=True):
    """`[gpu]`"""

    slots: Annotated[
        Count,
        about(
            "Number of plain GPU slots. They are only counted: no device is passed to a task. 0: "
            "the GPUs that NVIDIA's driver reports, each passed to the tasks that hold it."
        ),
    ] = 0
    slots_per_gpu: Annotated[AtLeastOne, about("Tasks that may share a GPU. 1: no sharing.")] = 1
    packing: Annotated[
        bool,
        about(
            "Let tasks share a GPU only if its memory is enough for what their jobs needed so far. "
            "A job that is not known yet gets a GPU of its own. Needs `slots_per_gpu` above 1."
        ),
    ] = False
    packing_margin_percent: Annotated[
        Percent, about("Percentage of a GPU's memory that `packing` leaves free.")
    ] = 10
    placement: Annotated[
        Literal["fill", "spread"],
        about(
            "How GPUs are chosen for a task. `fill`: adjacent GPUs in the smallest gap that fits, "
            "and the fullest of shared ones. `spread`: the emptiest GPUs, far from those in use."
        ),
    ] = "fill"
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without use of its GPUs after which a running task is idle. 0: idle GPUs are "
            "not looked for."
        ),
    ] = 1800
    idle_percent: Annotated[
        Percent, about("A GPU that computes for a smaller percentage of the time is not used.")
    ] = 5
    idle_start_seconds: Annotated[
        Count, about("First seconds of an attempt, which do not count as idle.")
    ] = 600
    idle_action: Annotated[
        Literal["report", "stop"],
        about(
            "What happens to an idle task. `report`: it is marked. `stop`: it is also stopped "
            "if it stays idle for `idle_warning_seconds`, and fails."
        ),
    ] = "report"
    idle_warning_seconds: Annotated[
        Count, about("Seconds between the report of an idle task and its stop.")
    ] = 600
    may_idle: Annotated[
        bool, about("Accept tasks with `may_idle`, which are never idle, whatever they use.")
    ] = False


class SchedulingSettings(msgspec.Struct, frozen=True):
    """`[scheduling]`"""

    ahead: Annotated[
        bool,
        about(
            "Prestage the tasks that would start next: their containers start while they wait, "
            "with the command held at a gate."
        ),
    ] = True
    half_life: Annotated[
        Count,
        about(
            "Seconds after which past usage counts half. Among tasks of the same priority, the "
            "user with less usage goes first. 0: usage never decays."
        ),
    ] = 86_400
    preemption: Annotated[
        bool,
        about(
            "Stop `preemptible` tasks if that lets a more urgent task start. They are queued "
            "again; those with a checkpoint go on from it."
        ),
    ] = False


class QuotaSettings(msgspec.Struct, frozen=True):
    """`[quotas]`"""

    user_gpus: Annotated[
        Count, about("Most GPUs that one user's tasks may hold together. 0: no limit.")
    ] = 0
    user_running: Annotated[
        Count, about("Most tasks of one user that run at the same time. 0: no limit.")
    ] = 0
    user_queued: Annotated[
        Count, about("Most tasks of one user that wait at the same time. 0: no limit.")
    ] = 100_000
    user_queued_mb: Annotated[
        Count,
        about(
            "Most memory of the server, in MiB, for one user's tasks while they wait or run. 0: "
            "no limit, so that one user can fill the queue."
        ),
    ] = 160

    user_storage_gb: Annotated[
        Count | None,
        about(
            "Most disk space, in GiB, for one user's files: snapshots, outputs, logs, Jupyter "
            "workspaces, and what running tasks write. Above it, submits and uploads of the user "
            "are rejected, and running tasks that write more than that are stopped. 0: no limit.",
            default="a fifth of the data directory's disk, at least 1",
        ),
    ] = None
