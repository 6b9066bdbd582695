"""Tasks that are queued again after an attempt, and what they keep of it."""

from fetchml.core import quotas
from fetchml.core.changes import move
from fetchml.core.events import Decision
from fetchml.core.footprint import task_footprint
from fetchml.core.model import Attempt, Requeue, Status, Task
from fetchml.core.state import State
from fetchml.core.verdict import Verdict, exit_code

MOST_KEPT = 20
"""Earlier attempts that a task keeps: the newest."""
MOST_TEXT = 200
"""Characters of the error of each."""


def queue_again(
    state: State,
    decision: Decision,
    task: Task,
    now: int,
    cause: Requeue,
    verdict: Verdict | None = None,
    **fields: object,
) -> None:
    """Queue a task again, whose attempt is over. `verdict`: `None` if the attempt did not fail.
    `fields`: of the task, changed with it."""
    if task.halt is not None:
        fields.setdefault("error", f"attempt {task.attempt}: {task.halt.why}")
    earlier = _earlier(state, task, _record(task, now, cause, verdict))
    state.leave(task)
    before = task
    task = move(
        state,
        decision,
        task,
        Status.QUEUED,
        **fields,
        started_at=None,
        worker_id=None,
        end=None,
        progress=None,
        gpu_uuids=(),
        prestaged=False,
        allocated_at=None,
        halt=None,
        begun_at=None,
        earlier_attempts=earlier,
    )
    state.resized(task.user, task_footprint(task) - task_footprint(before))
    state.wait(task, now)


def _record(task: Task, now: int, cause: Requeue, verdict: Verdict | None) -> Attempt:
    end = task.end
    error = (verdict.error if verdict is not None else None) or ""
    if verdict is None and task.halt is not None:
        error = task.halt.why
    return Attempt(
        task.attempt,
        cause,
        max(now if end is None else end.at, task.started_at or 0),
        begun_at=task.begun_at,
        allocated_at=task.allocated_at,
        started_at=task.started_at,
        worker_id=task.worker_id,
        failure_reason=verdict.reason if verdict is not None else None,
        exit_code=exit_code(end) if end is not None else None,
        error=error if len(error) <= MOST_TEXT else f"{error[: MOST_TEXT - 1]}…",
    )


def _earlier(state: State, task: Task, attempt: Attempt) -> tuple[Attempt, ...]:
    """The attempts that are kept. Nobody asks before a task is queued again: while live tasks have
    all the memory that they may, none keeps more attempts than it has."""
    is_full = quotas.is_full(state, ())
    most = len(task.earlier_attempts) if is_full else MOST_KEPT
    return (*task.earlier_attempts, attempt)[-most:] if most else ()
