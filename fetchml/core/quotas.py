"""What one user may have of the box."""

from collections.abc import Sequence

from msgspec.structs import replace

from fetchml.core.footprint import footprint
from fetchml.core.model import Task, TaskSpec
from fetchml.core.scheduling.resources import beyond
from fetchml.core.state import Limits, State

MAX_LIVE_TASKS = 1_000_000
MAX_LIVE_BYTES = 1 << 30
"""Memory that all live tasks may take."""
MOST_TASK_BYTES = 4 << 20
"""More than any one task takes: what is far from a limit need not be measured."""


def count_fault(state: State, user: str, more: int) -> str | None:
    """Why the user may not submit so many tasks now, whatever they are; None: it may."""
    most, waiting = state.limits.user_queued, state.waiting.queued_by(user)
    if not most or waiting + more <= most:
        return None
    return f"{waiting} tasks of {user} wait, and no more than {most} may: submit when some ran"


def queue_fault(state: State, user: str, specs: Sequence[TaskSpec]) -> str | None:
    """Why the user may not submit these tasks now; None: it may."""
    if fault := count_fault(state, user, len(specs)):
        return fault
    more = len(specs)
    most, taken = state.limits.user_queued_bytes, state.user_bytes.get(user, 0)
    if most and taken + more * MOST_TASK_BYTES > most:
        asked = sum(footprint(spec) for spec in specs)
        if taken + asked > most:
            return (
                f"the tasks of {user} that have not ended take {_mib(taken)} MiB of the server's "
                f"memory, these take {_mib(asked)} more, and {_mib(most)} are allowed: submit "
                "when some have ended, or pass large texts in a snapshot"
            )
    return None


def is_full(state: State, specs: Sequence[TaskSpec]) -> bool:
    """Whether these tasks find no room in the server's memory beside all live tasks."""
    more = len(specs)
    if len(state.tasks) + more > MAX_LIVE_TASKS:
        return True
    if state.live_bytes + more * MOST_TASK_BYTES <= MAX_LIVE_BYTES:
        return False
    return state.live_bytes + sum(footprint(spec) for spec in specs) > MAX_LIVE_BYTES


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"


def gpu_fault(limits: Limits, spec: TaskSpec) -> str | None:
    """Why the task could never start; None: it could."""
    asked = spec.gpu or 0
    if not limits.user_gpus or asked <= limits.user_gpus:
        return None
    return f"asks for {asked} gpu, a user may have {limits.user_gpus}"


def impossible(state: State, task: Task) -> list[str]:
    """What of a waiting task can never be had, in words; empty: it can be. Nothing is said of
    GPUs that are not known yet."""
    wanted = task.spec.resources
    if not state.gpus.is_known:
        wanted = replace(wanted, gpu=0)
    told = beyond(wanted, state.capacity)
    fault = gpu_fault(state.limits, task.spec)
    return [*told, fault] if fault else told
