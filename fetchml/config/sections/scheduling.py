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
        Count, about("CPU cores available to tasks, in total.", default="all cores of the host")
    ] = msgspec.field(default_factory=host.cores)
    memory_gb: Annotated[
        Count,
        about(
            "Memory available to tasks in total, in GiB. It is also the memory limit for "
            "containers of tasks that request none.",
            default="all memory of the host, less an eighth (at most 8 GiB)",
        ),
    ] = msgspec.field(default_factory=memory_for_tasks_gb)


class GpuSettings(msgspec.Struct, frozen=True):
    """`[gpu]`"""

    slots: Annotated[
        Count,
        about(
            "Number of plain GPU slots. Slots are only counted; no device is passed to the task. "
            "0: use the GPUs that the NVIDIA driver reports, and pass each to the tasks that hold "
            "it."
        ),
    ] = 0
    slots_per_gpu: Annotated[
        AtLeastOne, about("Maximum number of tasks that share a GPU. 1: no sharing.")
    ] = 1
    packing: Annotated[
        bool,
        about(
            "Let tasks share a GPU only if its memory suffices for the measured peaks of their "
            "jobs. Jobs without a measured peak get a GPU to themselves. Requires `slots_per_gpu` "
            "above 1."
        ),
    ] = False
    packing_margin_percent: Annotated[
        Percent, about("Percentage of a GPU's memory that `packing` leaves free.")
    ] = 10
    placement: Annotated[
        Literal["fill", "spread"],
        about(
            "How the scheduler chooses GPUs. `fill`: adjacent GPUs in the smallest gap that fits; "
            "among shared GPUs, the fullest. `spread`: the emptiest GPUs, far from those in use."
        ),
    ] = "fill"
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds after which a running task that does not use its GPUs counts as idle. 0: no "
            "idle detection."
        ),
    ] = 1800
    idle_percent: Annotated[
        Percent, about("Utilization, in percent, below which a GPU counts as unused.")
    ] = 5
    idle_start_seconds: Annotated[
        Count,
        about("Seconds at the start of each attempt during which the task cannot count as idle."),
    ] = 600
    idle_action: Annotated[
        Literal["report", "stop"],
        about(
            "What to do with an idle task. `report`: mark it. `stop`: mark it, and stop it after "
            "another `idle_warning_seconds` of idleness; it then fails."
        ),
    ] = "report"
    idle_warning_seconds: Annotated[
        Count, about("Seconds between marking an idle task and stopping it.")
    ] = 600
    may_idle: Annotated[
        bool, about("Accept `may_idle` in requests. Tasks with it never count as idle.")
    ] = False


class SchedulingSettings(msgspec.Struct, frozen=True):
    """`[scheduling]`"""

    ahead: Annotated[
        bool,
        about(
            "Prestage the tasks that are next in the queue: start their containers early, and "
            "hold each command at a gate until its resources are free."
        ),
    ] = True
    half_life: Annotated[
        Count,
        about(
            "Half-life of past usage, in seconds. Among tasks of equal priority, the user with "
            "less usage goes first. 0: usage never decays."
        ),
    ] = 86_400
    preemption: Annotated[
        bool,
        about(
            "Stop `preemptible` tasks if that lets a task of higher priority start. The server "
            "queues them again; a task with a checkpoint resumes from it."
        ),
    ] = False


class QuotaSettings(msgspec.Struct, frozen=True):
    """`[quotas]`"""

    user_gpus: Annotated[
        Count, about("Maximum number of GPUs that the tasks of one user hold. 0: no limit.")
    ] = 0
    user_running: Annotated[
        Count, about("Maximum number of running tasks per user. 0: no limit.")
    ] = 0
    user_queued: Annotated[
        Count, about("Maximum number of waiting tasks per user. 0: no limit.")
    ] = 100_000
    user_queued_mb: Annotated[
        Count,
        about(
            "Maximum server memory, in MiB, for the waiting and running tasks of one user. 0: no "
            "limit; one user can then fill the queue."
        ),
    ] = 160

    user_storage_gb: Annotated[
        Count | None,
        about(
            "Maximum disk usage per user, in GiB: snapshots, outputs, logs, Jupyter workspaces, "
            "and files of running tasks. Above it, the server rejects the user's submits and "
            "uploads, and stops running tasks that write more than that. 0: no limit.",
            default="a fifth of the data directory's disk, at least 1",
        ),
    ] = None
