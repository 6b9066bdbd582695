"""Quotas that a submit must keep. A task that waits because its user's quota of GPUs or of running
tasks is in use is the scheduler's: `over_quota` in `scheduling/scheduler.py`."""

from collections.abc import Sequence

from msgspec.structs import replace

from fetchml.core.footprint import spec_footprint
from fetchml.core.model import Task, TaskSpec
from fetchml.core.scheduling.resources import beyond
from fetchml.core.state import Limits, State

MAX_LIVE_TASKS = 1_000_000
MAX_LIVE_BYTES = 1 << 30
"""Bytes of memory that all live tasks may take."""


def count_fault(state: State, user: str, more: int) -> str | None:
    """Return why a user may not have `more` waiting tasks now; `None` if they may."""
    most = state.limits.user_queued
    if most and len(state.tasks) + more > most:  # Rare: even all users' are fewer.
        waiting = state.waiting_of(user) + state.user_handed_over.get(user, 0)
        if waiting + more > most:
            return (
                f"limit of {most} waiting tasks reached ({user} has {waiting}): submit when some "
                "have started"
            )
    return None


def queue_fault(state: State, user: str, footprints: Sequence[int]) -> str | None:
    """Return why a user may not submit tasks of these footprints (bytes) now; `None` if they
    may."""
    if fault := count_fault(state, user, len(footprints)):
        return fault
    most = state.limits.user_queued_bytes
    if not most:
        return None
    taken, asked = state.user_bytes.get(user, 0), sum(footprints)
    if taken + asked > most:
        return (
            f"memory limit for the live tasks of {user} reached ({_mib(taken)} MiB used, "
            f"{_mib(asked)} MiB requested, {_mib(most)} MiB allowed): submit when some have "
            "ended, or pass large texts in a snapshot"
        )
    return None


def growth_fault(state: State, before: Task, after: Task) -> str | None:
    """Return why a live task may not take more of the server's memory; `None` if it may."""
    more = spec_footprint(after.spec) - spec_footprint(before.spec)
    most = state.limits.user_queued_bytes
    if before.id not in state.tasks or more <= 0:
        return None
    taken = state.user_bytes.get(before.user, 0)
    if (most and taken + more > most) or state.live_bytes + more > MAX_LIVE_BYTES:
        return (
            f"memory limit for the live tasks of {before.user} reached ({_mib(taken)} MiB used, "
            f"{_mib(most or MAX_LIVE_BYTES)} MiB allowed): use shorter labels"
        )
    return None


def is_full(state: State, footprints: Sequence[int]) -> bool:
    """Whether tasks of these footprints (bytes) exceed the memory for live tasks."""
    return (
        len(state.tasks) + len(footprints) > MAX_LIVE_TASKS
        or state.live_bytes + sum(footprints) > MAX_LIVE_BYTES
    )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"


def gpu_fault(limits: Limits, spec: TaskSpec) -> str | None:
    """Return why the user's quota of GPUs never lets the task start; `None` if it does."""
    if not limits.user_gpus or (asked := spec.gpu or 0) <= limits.user_gpus:
        return None
    return f"requests {asked}, but the limit per user is {limits.user_gpus}"


def impossible(state: State, task: Task) -> list[str]:
    """Return why a waiting task can never start; empty if it can. Requests for GPUs count as
    possible until the inventory has been seen."""
    wanted = task.spec.resources
    if not state.gpus.is_reported:
        wanted = replace(wanted, gpu=0)
    faults = beyond(wanted, state.capacity)
    fault = gpu_fault(state.limits, task.spec)
    return [*faults, fault] if fault else faults
