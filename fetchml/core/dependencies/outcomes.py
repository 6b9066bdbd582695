"""Tasks that start after others (`after`): what they wait for, and what the end of a task means for
those that wait for it or for its sweep.

- A task does not start before every condition holds.
- All conditions hold at the moment when the last one does: one on a sweep is open again if failed
  tasks of the sweep are submitted again before.
- A condition that can no longer hold fails the task, and so every task that waits for it in turn.
- A task names tasks and sweeps that exist when it is submitted. A failed task that is submitted
  again in its sweep names no others, so there are no cycles.

A task that has ended is not in the state. Its outcome comes with the event that submits a task, or
with the restored state. Conditions that hold are recorded once, as `Task.after_met`.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from fetchml.core.dependencies.blocked import News
from fetchml.core.events import Decision, Submitted
from fetchml.core.lifecycle import change, finish
from fetchml.core.model import Condition, Dependency, FailureReason, Status, Task
from fetchml.core.state import State
from fetchml.core.sweeps.progress import Failures, Progress
from fetchml.core.verdict import Verdict

MOST_AT_ONCE = 100
"""Waiting tasks that one decision handles; the next one follows at once."""


def learn(state: State, event: Submitted) -> None:
    """Record the outcomes of sweeps that come with a submission, before its tasks enter the
    state."""
    state.progress.learn(event.failures, event.replaced)
    for task in event.replaced[:1]:  # All are of one sweep.
        if task.spec.sweep is not None:
            state.blocked.reopen(task.spec.sweep.id)


def block(state: State, task: Task, ended: Mapping[str, Status]) -> Task:
    """Let a new task wait for what it names, as far as it has to, and return it. `ended`: see
    Submitted."""
    state.blocked.block(task, state.tasks, ended, state.progress)
    after = task.spec.after or ()
    if task.id in state.blocked or all(each.task_id for each in after):
        return task
    # Recorded, since a sweep may be live again before the task starts.
    state.tasks[task.id] = met = replace(task, after_met=True)
    return met


def settle(state: State, decision: Decision, now: int) -> None:
    """Handle the ends of tasks that others wait for."""
    for _ in range(MOST_AT_ONCE):
        news = state.blocked.next_news()
        if news is None:
            return
        task = state.tasks[news.task_id]
        if not news.holds:
            state.blocked.failures += 1
            verdict = Verdict(FailureReason.DEPENDENCY_FAILED, _why(news), None)
            finish(state, decision, task, verdict, ended_at=now)
        elif news.is_last:
            state.blocked.remove(task)
            task = change(state, decision, replace(task, after_met=True, released_at=now))
            state.requeue(task, now)


def _why(news: News) -> str:
    on = news.on
    if news.failures is not None:
        return _why_of_sweep(on, news.failures)
    task = on.task_id + (f" of sweep {on.sweep_id}" if on.sweep_id else "")
    match on.condition:
        case Condition.COMPLETED:
            return f"it waited for a task that failed: {task}"
        case Condition.FAILED:
            return f"it starts only if a task fails, but the task completed: {task}"
        case Condition.ENDED:
            return f"task {task} no longer exists"


def _why_of_sweep(on: Dependency, failures: Failures) -> str:
    if on.condition is Condition.FAILED:
        return f"it starts only if a task fails, and all have completed of sweep {on.sweep_id}"
    return f"it waited for all tasks of sweep {on.sweep_id} to complete, and {_failed(failures)}"


def _failed(failures: Failures) -> str:
    """Describe the failed tasks of a sweep."""
    if failures.example is None:
        return f"{failures.number} of them {'has' if failures.number == 1 else 'have'} failed"
    if failures.number == 1:
        return f"task {failures.example} has failed"
    return f"{failures.number} of them have failed, among them task {failures.example}"


def named(tasks: Mapping[str, Task]) -> frozenset[str]:
    """Ids of the ended tasks that live tasks still name: whose outcomes `State.restore` needs."""
    return frozenset(
        each.task_id
        for task in tasks.values()
        if task.has_open_conditions
        for each in task.spec.after or ()
        if each.task_id and each.task_id not in tasks
    )


def described(on: Dependency, status: Status | None) -> str:
    """Describe a condition on a task for users. `status`: that of the other task; `None` if it is
    not to be shown."""
    shown = f" (it is {status})" if status is not None else ""
    of_sweep = f" of sweep {on.sweep_id}" if on.sweep_id else ""
    return f"task {on.task_id}{of_sweep} {_VERBS[on.condition]}{shown}"


def described_sweep(on: Dependency, progress: Progress | None) -> str:
    """Describe a condition on a sweep for users. `progress`: that of the sweep; `None` if it is not
    to be shown."""
    what = {
        Condition.COMPLETED: "complete",
        Condition.ENDED: "end",
        Condition.FAILED: "end, one or more of them failed",
    }[on.condition]
    text = f"all tasks of sweep {on.sweep_id} {what}"
    if progress is None:
        return text
    shown = f"{progress.live} {'has' if progress.live == 1 else 'have'} not ended"
    if progress.failures.number:
        shown += f"; {_failed(progress.failures)}"
    return f"{text} ({shown})"


_VERBS = {Condition.COMPLETED: "completes", Condition.FAILED: "fails", Condition.ENDED: "ends"}
