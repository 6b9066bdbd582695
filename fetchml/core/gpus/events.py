"""Effects of GPU events on the tasks on those GPUs: losses, idle GPUs, and use of GPU memory.

A task is idle once its GPUs were used less than `[gpu] idle_percent` for `idle_seconds`, in samples
without a gap. With `idle_action = "stop"` it is stopped if that goes on for
`idle_warning_seconds` more.

Not counted: the first `idle_start_seconds` of an attempt (compilers, downloads), time without
samples (the server was down, the driver or a node did not answer), and tasks that may be idle
(`may_idle`). After a gap the count starts again, because the task may have computed meanwhile. A
mark from before the gap stays: `Task.idle_since` is stored, and the first sample of use clears it.

Readings of GPU memory, and attempts that run out of it, teach the peaks of `core.packing`.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from fetchml.core.bookings.booking import Bookings
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
from fetchml.core.gpus.allocator import Quiet, busiest
from fetchml.core.lifecycle import change, current, finish, halt, raise_notice
from fetchml.core.model import AttemptEnd, EventKind, FailureReason, Halt, HaltCause, Status, Task
from fetchml.core.packing import MemoryUse, Packing
from fetchml.core.requests.checks import shown_time
from fetchml.core.scheduling.resources import IdleRule
from fetchml.core.state import State
from fetchml.core.submit_quotas import impossible
from fetchml.core.verdict import Verdict, is_failure


def apply(
    state: State,
    decision: Decision,
    event: GpuEvent,
) -> None:
    match event:
        case GpusSeen():
            first = not state.gpus.is_reported
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
            gpus_used(state, decision, event)
        case GpuMemoryUsed():
            memory_used(state, event)
        case GpuMemoryExhausted():
            memory_exhausted(state, decision, event)
        case BookingsChanged(bookings=bookings):
            state.bookings = Bookings(bookings)


def fail_the_impossible(state: State, decision: Decision, now: int) -> None:
    """Fail waiting tasks that the host can no longer satisfy."""
    for task in list(state.tasks.values()):
        if task.status is Status.QUEUED and (faults := impossible(state, task)):
            verdict = Verdict(FailureReason.PREPARE_FAILED, "; ".join(faults), None)
            finish(state, decision, task, verdict, ended_at=now)


def seen(state: State, decision: Decision, event: GpusSeen) -> None:
    """Apply the inventory, and stop attempts whose GPU is lost, or blocked before their command
    starts. A host with plain slots has no inventory."""
    if state.limits.capacity.gpu:
        return
    state.gpus.see(event.gpus)
    for task_id in list(state.held):
        task = state.tasks[task_id]
        failed = _failed(state, task)
        if not failed or (task.halt is not None and task.halt.cause is HaltCause.GPU):
            continue
        gpu = state.gpus.inventory[failed[0]]
        why = f"its GPU is unusable: {gpu.blocked}"
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
        gpu = state.gpus.inventory.get(uuid)
        if gpu is None:
            continue
        if gpu.lost or (gpu.blocked is not None and task.status is Status.PREPARING):
            failed.append(uuid)
    return tuple(failed)


IDLE_GAP_MS = 30_000
"""Samples further apart leave a gap. They are taken every 10 s, on nodes of a cluster too."""


def gpus_used(state: State, decision: Decision, event: GpusUsed) -> None:
    """Find the tasks that have become idle, are used again, or are to be stopped."""
    rule = state.limits.idle
    if rule is None:
        return
    by_uuid = {use.uuid: use for use in event.gpus}
    before, state.quiet = state.quiet, {}
    for task_id in list(state.held):
        task = state.tasks[task_id]
        if not _counts(task):
            continue
        percent = event.tasks.get(task_id)
        if percent is None:
            percent = busiest(task, by_uuid, state.gpus.holders)
        if percent is None:
            if (unchanged := before.get(task_id)) is not None:
                state.quiet[task_id] = unchanged
        elif percent >= rule.percent:
            if task.idle_since is not None:
                change(state, decision, replace(task, idle_since=None))
        elif event.now >= (task.started_at or 0) + rule.start_ms:
            quiet = state.quiet[task_id] = _quiet(task, before, event.now)
            _decide(state, decision, rule, task, quiet, event.now)


def _counts(task: Task) -> bool:
    ends = task.cancel is not None or task.halt is not None
    runs = task.status is Status.RUNNING and bool(task.gpu_uuids)
    return runs and not ends and not task.spec.may_idle


def _quiet(task: Task, before: Mapping[str, Quiet], now: int) -> Quiet:
    """Return the quiet time up to this sample."""
    last = before.get(task.id)
    if last is None or last.attempt != task.attempt or not 0 <= now - last.last <= IDLE_GAP_MS:
        return Quiet(task.attempt, now, now)
    return last._replace(last=now)


def _decide(
    state: State, decision: Decision, rule: IdleRule, task: Task, quiet: Quiet, now: int
) -> None:
    lasted = now - quiet.since
    if lasted < rule.idle_ms:
        return
    if task.idle_since is None:
        task = change(state, decision, replace(task, idle_since=quiet.since))
        raise_notice(decision, task, EventKind.IDLE)
    # A service has a rule of its own, about its user (`core.jupyter`).
    if rule.warning_ms is None or task.service or lasted < rule.idle_ms + rule.warning_ms:
        return
    why = (
        f"its GPUs were idle for {lasted // 1000} s: less than {rule.percent} % of them was used "
        f"since {shown_time(quiet.since)}"
    )
    halt(state, decision, task, Halt(HaltCause.IDLE, why, now))


MEMORY_GAP_MS = 10_000
"""Readings further apart leave a gap. They are taken every 2 s."""
ENOUGH_READINGS = 5
"""Readings of an attempt without which its peak is not believed: it may have been between two."""
MEMORY_EXHAUSTED = "it ran out of GPU memory beside other tasks on its GPU"


def memory_used(state: State, event: GpuMemoryUsed) -> None:
    """Apply the GPU usage of running tasks."""
    packing = state.packing
    if packing is None:
        return
    by_uuid = {each.uuid: each.tasks for each in event.gpus}
    for task_id in state.held:
        task = state.tasks[task_id]
        if task.status is not Status.RUNNING or not task.gpu_uuids or task.service:
            continue
        seen = [by_uuid.get(uuid, {}).get(task_id) for uuid in task.gpu_uuids]
        measured = [each for each in seen if each is not None]
        if len(measured) == len(seen):
            _observe(packing, task, max(measured), event.now)


def _observe(packing: Packing, task: Task, used_mb: int, now: int) -> None:
    before = packing.used.get(task.id)
    if before is None or before.attempt != task.attempt:
        before = MemoryUse(task.attempt, 0, 0, task.started_at or 0, gapless=True)
    packing.used[task.id] = MemoryUse(
        task.attempt,
        max(before.peak, used_mb),
        before.readings + 1,
        now,
        before.gapless and _is_close(before.last, now),
    )
    packing.peaks.exceed((task.user, task.spec.job_name), used_mb)


def learn_peak(state: State, task: Task, end: AttemptEnd) -> None:
    """Learn the peak of an attempt whose processes are gone, if all of it was seen."""
    packing = state.packing
    use = packing.used.pop(task.id, None) if packing is not None else None
    if packing is None or use is None or use.attempt != task.attempt:
        return
    completed = not is_failure(end) and end.lost is None
    stopped = task.cancel is not None or task.halt is not None
    whole = use.gapless and use.readings >= ENOUGH_READINGS and end.at - use.last <= MEMORY_GAP_MS
    if completed and not stopped and whole:
        packing.peaks.learn((task.user, task.spec.job_name), use.peak)


def memory_exhausted(state: State, decision: Decision, event: GpuMemoryExhausted) -> None:
    """Raise the peak of an attempt that failed for lack of memory beside others, and retry it: not
    the task but the packing was at fault. A quarter of the GPU more each time, so that after four
    times the task gets a GPU of its own, whatever it reports."""
    packing = state.packing
    task = current(state, event.task_id, event.attempt, Status.COLLECTING)
    if packing is None or task is None or task.id not in packing.shared:
        return
    if task.halt is not None or task.end is None or not is_failure(task.end):
        return
    job = task.user, task.spec.job_name
    sizes = [gpu.memory_mb for uuid in task.gpu_uuids if (gpu := state.gpus.inventory.get(uuid))]
    memory_mb = max(sizes, default=0)
    packing.peaks.exceed(job, min(memory_mb, (packing.peaks.get(job) or 0) + memory_mb // 4))
    packing.exhausted += 1
    halt = Halt(HaltCause.GPU_MEMORY, MEMORY_EXHAUSTED, event.now)
    change(state, decision, replace(task, halt=halt))


def _is_close(before: int, now: int) -> bool:
    return 0 <= now - before <= MEMORY_GAP_MS
