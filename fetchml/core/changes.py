"""How a decision changes a task: along the table of transitions, each change noted."""

from msgspec.structs import replace

from fetchml.core import transitions
from fetchml.core.events import Decision
from fetchml.core.model import Status, Task
from fetchml.core.state import State


def move(state: State, decision: Decision, task: Task, to: Status, **fields: object) -> Task:
    """Raises InvalidTransition."""
    transitions.require(task, to)
    return change(state, decision, replace(task, status=to, **fields))


def change(state: State, decision: Decision, task: Task) -> Task:
    state.tasks[task.id] = task
    decision.changes.append(task)
    return task


def current(state: State, task_id: str, attempt: int, *expected: Status) -> Task | None:
    """The task, if this attempt is its current one and it is in one of these states."""
    task = state.tasks.get(task_id)
    if task is None or task.attempt != attempt or task.status not in expected:
        return None
    return task
