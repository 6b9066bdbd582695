"""Effects of GPU events on the tasks on those GPUs."""

from msgspec.structs import replace

from fetchml.core.bookings.closed_gpus import Bookings
from fetchml.core.events import (
    BookingsChanged,
    Decision,
    GpuChecked,
    GpuDrained,
    GpuEvent,
    GpuFailed,
    GpuMemoryExhausted,
    GpuMemoryUsed,
    GpusSeen,
    GpusUsed,
    StopAttempt,
)
from fetchml.core.gpus import idle
from fetchml.core.lifecycle import change, current, finish
from fetchml.core.model import FailureReason, Halt, HaltCause, Status, Task
from fetchml.core.packing import learning
from fetchml.core.quotas import impossible
from fetchml.core.state import State
from fetchml.core.verdict import Verdict, is_failure


def apply(
    state: State,
    decision: Decision,
    event: GpuEvent,
) -> None:
    match event:
        case GpusSeen():
            first = not state.gpus.is_known
            seen(state, decision, event)
            if first:
                fail_the_impossible(state, decision, event.now)
        case GpuChecked(uuid=uuid, fault=fault):
            state.gpus.checked(uuid, fault)
        case GpuFailed():
            failed(state, decision, event)
        case GpuDrained(uuid=uuid, by=by):
            state.gpus.drain(uuid, by)
        case GpusUsed():
            idle.used(state, decision, event)
        case GpuMemoryUsed():
            learning.used(state, event)
        case GpuMemoryExhausted():
            learning.exhausted(state, decision, event)
        case BookingsChanged(bookings=bookings):
            state.bookings = Bookings(bookings)


def fail_the_impossible(state: State, decision: Decision, now: int) -> None:
    """Fail waiting tasks that the host can no longer satisfy."""
    for task in list(state.tasks.values()):
        if task.status is Status.QUEUED and (faults := impossible(state, task)):
            verdict = Verdict(FailureReason.PREPARE_FAILED, "; ".join(faults), None)
            finish(state, decision, task, verdict, ended_at=now)


def seen(state: State, decision: Decision, event: GpusSeen) -> None:
    """Take over the inventory and stop attempts whose GPU is lost, or blocked before their command
    is started. A host with plain slots has no inventory."""
    if state.limits.capacity.gpu:
        return
    state.gpus.see(event.gpus)
    for task_id in list(state.held):
        task = state.tasks[task_id]
        failed = _failed(state, task)
        if not failed or (task.halt is not None and task.halt.cause is HaltCause.GPU):
            continue
        gpu = state.gpus.known[failed[0]]
        why = f"its GPU can't be used: {gpu.blocked}"
        if gpu.lost and gpu.blocked is not None:
            why = f"its GPU was lost: {gpu.blocked.detail}"
        halt = Halt(HaltCause.GPU, why, event.now, gpus=failed)
        change(state, decision, replace(task, halt=halt))
        if task.status is not Status.COLLECTING:
            decision.effects.append(StopAttempt(task.id))


def failed(state: State, decision: Decision, event: GpuFailed) -> None:
    """Make errors of its GPUs the cause of an attempt's failure. A success stays one."""
    task = current(state, event.task_id, event.attempt, Status.COLLECTING)
    if task is None or task.halt is not None or task.end is None or not is_failure(task.end):
        return
    halt = Halt(HaltCause.GPU, event.why, event.now, gpus=event.gpus)
    change(state, decision, replace(task, halt=halt))


def _failed(state: State, task: Task) -> tuple[str, ...]:
    """UUIDs of the task's GPUs that failed it. A GPU that is reported lost shortly after a failed
    end is its cause."""
    if task.status is Status.COLLECTING and not (task.end is not None and is_failure(task.end)):
        return ()
    failed = []
    for uuid in task.gpu_uuids:
        gpu = state.gpus.known.get(uuid)
        if gpu is None:
            continue
        if gpu.lost or (gpu.blocked is not None and task.status is Status.PREPARING):
            failed.append(uuid)
    return tuple(failed)
