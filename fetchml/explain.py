"""Why a task is where it is, in a sentence."""

from fetchml.core.model import Status, Task
from fetchml.core.resources import fits
from fetchml.core.state import State
from fetchml.views import Explanation, Shortage


def explain(state: State, task: Task, now: int) -> Explanation:
    if task.status is Status.QUEUED:
        return _waiting(state, task, now)
    if task.cancel is not None and task.status not in (Status.COMPLETED, Status.FAILED):
        reason = f"It is being ended: {task.cancel.by} cancelled it."
    else:
        reason = {
            Status.PREPARING: f"It is made ready: {task.progress or 'just begun'}.",
            Status.RUNNING: f"It runs on {task.worker_id}.",
            Status.COLLECTING: "Its process has ended; its outputs are being kept.",
            Status.COMPLETED: "It has completed.",
            Status.FAILED: f"It has failed: {task.error}.",
        }[task.status]
    return Explanation(task.id, task.status, reason, progress=task.progress)


def _waiting(state: State, task: Task, now: int) -> Explanation:
    ahead = state.waiting.ahead_of(task)
    missing = _shortages(state, task)
    if task.not_before > now:
        seconds = -(-(task.not_before - now) // 1000)
        reason = f"It is tried again in {seconds} s ({task.error})."
    elif state.draining:
        reason = "The server is shutting down; it starts after the restart."
    elif not state.launcher_available:
        reason = "The server can't start tasks now: what runs them is away (see 'fetchml doctor')."
    elif missing:
        needs = ", ".join(
            f"{s.requested} {s.resource} ({s.free} of {s.total} free)" for s in missing
        )
        reason = f"It waits for {needs}."
    elif ahead:
        reason = f"It waits behind {ahead} more urgent or older task{'s' if ahead > 1 else ''}."
    else:
        reason = "It starts next."
    return Explanation(task.id, task.status, reason, position=ahead + 1, missing=missing)


def _shortages(state: State, task: Task) -> tuple[Shortage, ...]:
    wanted, free, total = task.spec.resources, state.free, state.limits.capacity
    missing = []
    if state.free_slots <= 0:
        missing.append(Shortage("slots", 1, max(0, state.free_slots), state.limits.max_running))
    if not fits(wanted, free):
        for name in ("cpu", "memory_gb", "gpu"):
            asked, left = getattr(wanted, name), getattr(free, name)
            if asked > left:
                missing.append(Shortage(name, asked, max(0, left), getattr(total, name)))
    return tuple(missing)
