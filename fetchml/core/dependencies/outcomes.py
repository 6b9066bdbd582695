"""Tasks that start after others (`after`): what they wait for, and what the end of a task means for
those that wait for it.

- A task does not start before every condition holds.
- A condition that can no longer hold fails the task, and so every task that waits for it in turn.
- A task names others that exist when it is submitted, so there are no cycles.

A task that has ended is not in the state. Its outcome comes with the event that submits a task, or
with the restored state. Conditions that hold are recorded once, as `Task.after_met`.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from fetchml.core.changes import change, finish
from fetchml.core.events import Decision
from fetchml.core.model import Condition, Dependency, FailureReason, Status, Task
from fetchml.core.state import State
from fetchml.core.verdict import Verdict

MOST_AT_ONCE = 100
"""Waiting tasks that one decision handles; the next one follows at once."""


def settle(state: State, decision: Decision, now: int) -> None:
    """Handle the ends of tasks that others wait for."""
    for _ in range(MOST_AT_ONCE):
        news = state.blocked.next_news()
        if news is None:
            return
        task = state.tasks[news.task_id]
        if not news.holds:
            verdict = Verdict(FailureReason.DEPENDENCY_FAILED, _why(news.on), None)
            finish(state, decision, task, verdict, ended_at=now)
        elif news.is_last:
            task = change(state, decision, replace(task, after_met=True, released_at=now))
            state.place_again(task, now)


def _why(on: Dependency) -> str:
    match on.condition:
        case Condition.COMPLETED:
            return f"it was to start after task {on.task_id} had completed, which has failed"
        case Condition.FAILED:
            return f"it was to start if task {on.task_id} failed, which has completed"
        case Condition.ENDED:
            return f"task {on.task_id} is gone"


def named(tasks: Mapping[str, Task]) -> frozenset[str]:
    """Ids of the ended tasks that live tasks still name: whose outcomes `State.restore` needs."""
    return frozenset(
        each.task_id
        for task in tasks.values()
        if task.has_open_conditions
        for each in task.spec.after or ()
        if each.task_id not in tasks
    )


def described(on: Dependency, status: Status | None) -> str:
    """Describe a condition for users. `status`: that of the other task; `None` if it is not to be
    shown."""
    what = {
        Condition.COMPLETED: "completes",
        Condition.FAILED: "fails",
        Condition.ENDED: "ends",
    }[on.condition]
    shown = f" (it is {status})" if status is not None else ""
    return f"task {on.task_id} {what}{shown}"
