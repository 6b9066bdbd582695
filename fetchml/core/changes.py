"""How a decision changes tasks: along the table of transitions, with a record of each change."""

from msgspec.structs import replace

from fetchml.core import transitions
from fetchml.core.events import Decision
from fetchml.core.model import Status, Task
from fetchml.core.state import State


def move(state: State, decision: Decision, task: Task, to: Status, **fields: object) -> Task:
    """Change a task's status and other fields. Raises InvalidTransition."""
    transitions.require(task, to)
    return change(state, decision, replace(task, status=to, **fields))


def change(state: State, decision: Decision, task: Task) -> Task:
    """Put a new version of a task into the state and the decision."""
    state.tasks[task.id] = task
    decision.changes.append(task)
    return task


def current(state: State, task_id: str, attempt: int, *expected: Status) -> Task | None:
    """The task if this attempt is its current one and its status is one of `expected`, else
    `None`."""
    task = state.tasks.get(task_id)
    if task is None or task.attempt != attempt or task.status not in expected:
        return None
    return task
