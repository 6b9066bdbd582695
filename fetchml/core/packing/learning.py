"""Learning of the peaks of GPU memory: from readings, and from attempts that run out of it."""

from msgspec.structs import replace

from fetchml.core.events import Decision, GpuMemoryExhausted, GpuMemoryUsed
from fetchml.core.lifecycle import change, current
from fetchml.core.model import AttemptEnd, Halt, HaltCause, Status, Task
from fetchml.core.packing.model import MemoryUse, Packing
from fetchml.core.state import State
from fetchml.core.verdict import is_failure

GAP_MS = 10_000
"""Readings further apart leave a gap. They are taken every 2 s."""
ENOUGH = 5
"""Readings of an attempt without which its peak is not believed: it may have been between two."""
EXHAUSTED = "it ran out of GPU memory beside other tasks on its GPU"


def used(state: State, event: GpuMemoryUsed) -> None:
    """Take over what running tasks use."""
    packing = state.packing
    if packing is None:
        return
    found = {each.uuid: each.tasks for each in event.gpus}
    for task_id in state.held:
        task = state.tasks[task_id]
        if task.status is not Status.RUNNING or not task.gpu_uuids or task.service:
            continue
        seen = [found.get(uuid, {}).get(task_id) for uuid in task.gpu_uuids]
        known = [each for each in seen if each is not None]
        if len(known) == len(seen):
            _observe(packing, task, max(known), event.now)


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


def ended(state: State, task: Task, end: AttemptEnd) -> None:
    """Learn the peak of an attempt whose processes are gone, if all of it was seen."""
    packing = state.packing
    use = packing.used.pop(task.id, None) if packing is not None else None
    if packing is None or use is None or use.attempt != task.attempt:
        return
    completed = not is_failure(end) and end.lost is None
    stopped = task.cancel is not None or task.halt is not None
    whole = use.gapless and use.readings >= ENOUGH and end.at - use.last <= GAP_MS
    if completed and not stopped and whole:
        packing.peaks.learn((task.user, task.spec.job_name), use.peak)


def exhausted(state: State, decision: Decision, event: GpuMemoryExhausted) -> None:
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
    sizes = [gpu.memory_mb for uuid in task.gpu_uuids if (gpu := state.gpus.known.get(uuid))]
    memory_mb = max(sizes, default=0)
    packing.peaks.exceed(job, min(memory_mb, (packing.peaks.get(job) or 0) + memory_mb // 4))
    packing.exhausted += 1
    halt = Halt(HaltCause.GPU_MEMORY, EXHAUSTED, event.now)
    change(state, decision, replace(task, halt=halt))


def _is_close(before: int, now: int) -> bool:
    return 0 <= now - before <= GAP_MS
