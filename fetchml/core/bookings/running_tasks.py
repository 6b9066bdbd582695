"""Tasks that hold booked GPUs: preempted when the booking begins, or given a longer time limit."""

from collections.abc import Iterator

from fetchml.core.bookings.booking import MARGIN_MS
from fetchml.core.events import Decision
from fetchml.core.lifecycle import halt
from fetchml.core.model import Halt, HaltCause, Status, Task
from fetchml.core.requests.checks import shown_time
from fetchml.core.state import State


def begin(state: State, decision: Decision, now: int) -> None:
    """Preempt tasks that block a booking, if preemption is enabled. All others continue."""
    state.bookings = state.bookings.without_ended(now)
    if not state.limits.preemption:
        return
    for booking in state.bookings.begun(now):
        why = f"its GPU is reserved from {shown_time(booking.starts_at)} on"
        for task in list(_blocking(state, booking.user, booking.gpu_uuids)):
            halt(state, decision, task, Halt(HaltCause.PREEMPTED, why, now))


def _blocking(state: State, user: str, uuids: tuple[str, ...]) -> Iterator[Task]:
    for task_id in dict.fromkeys(h for uuid in uuids for h in state.gpus.holders.get(uuid, ())):
        task = state.tasks[task_id]
        goes_on = task.cancel is None and task.halt is None
        ends = task.status is Status.COLLECTING
        if task.user != user and task.spec.preemptible and goes_on and not ends:
            yield task


def extension_fault(state: State, before: Task, after: Task, now: int) -> str | None:
    """Return why a task that holds its GPUs may not run longer; `None` if it may.

    A task whose command has not started counts as one that starts now, as when it got its GPUs. A
    prestaged task does not hold any: it is discarded if it may not start there. A task with a time
    limit was put on a booked GPU because it ends before the booking. One that had no limit was not:
    whatever limit it gets is an improvement.
    """
    old, new = before.spec.timeout_seconds, after.spec.timeout_seconds
    holds = before.status in (Status.PREPARING, Status.RUNNING) and not before.prestaged
    if not holds or not old or 0 < new <= old:
        return None
    started = now if before.started_at is None else before.started_at
    ends = started + new * 1000 + MARGIN_MS if new else None
    for booking in state.bookings.on(before.gpu_uuids, now):
        if booking.user == before.user or (ends is not None and ends <= booking.starts_at):
            continue
        most = (booking.starts_at - MARGIN_MS - started) // 1000
        hint = f": {most} s at most" if most > old else ""
        return f"its GPU is reserved from {shown_time(booking.starts_at)} on{hint}"
    return None
