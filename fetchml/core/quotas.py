"""What one user may have of the box."""

from msgspec.structs import replace

from fetchml.core.model import Task, TaskSpec
from fetchml.core.resources import beyond
from fetchml.core.state import Limits, State


def queue_fault(state: State, user: str, more: int) -> str | None:
    """Why the user may not submit `more` tasks now; None: it may."""
    most = state.limits.user_queued
    waiting = state.waiting.queued_by(user)
    if not most or waiting + more <= most:
        return None
    return f"{waiting} tasks of {user} wait, and no more than {most} may: submit when some ran"


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
