"""Changes of tasks by a decision: along the table of transitions, with a record of each change."""

from msgspec.structs import replace

from fetchml.core import transitions
from fetchml.core.events import Decision
from fetchml.core.model import Status, Task
from fetchml.core.notifications import notices
from fetchml.core.state import State
from fetchml.core.verdict import Verdict


def move(state: State, decision: Decision, task: Task, to: Status, **fields: object) -> Task:
    """Change a task's status and other fields. Raises InvalidTransition."""
    transitions.require(task, to)
    moved = change(state, decision, replace(task, status=to, **fields))
    notices.of_move(state, decision, task, moved)
    return moved


def change(state: State, decision: Decision, task: Task) -> Task:
    """Put a new version of a task into the state and the decision."""
    state.tasks[task.id] = task
    decision.changes.append(task)
    return task


def finish(state: State, decision: Decision, task: Task, verdict: Verdict, ended_at: int) -> None:
    """End a task: nothing of it runs any more, and it is not tried again."""
    status = Status.COMPLETED if verdict.reason is None else Status.FAILED
    ended = move(
        state,
        decision,
        task,
        status,
        ended_at=max(ended_at, task.started_at or task.created_at),
        failure_reason=verdict.reason,
        error=verdict.error,
        exit_code=verdict.exit_code,
        progress=None,
        prestaged=False,
    )
    state.forget(ended)


def current(state: State, task_id: str, attempt: int, *expected: Status) -> Task | None:
    """The task if this attempt is its current one and its status is one of `expected`, else
    `None`."""
    task = state.tasks.get(task_id)
    if task is None or task.attempt != attempt or task.status not in expected:
        return None
    return task
