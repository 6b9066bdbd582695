"""Stops attempts whose tasks go on: for a more urgent task, or because a user interrupts them."""

from msgspec.structs import replace

from fetchml.core.changes import change
from fetchml.core.events import Decision, InterruptRequested, StopAttempt
from fetchml.core.model import Halt, HaltCause, Task
from fetchml.core.state import State
from fetchml.core.stopping import manner, may_be_interrupted


def preempt(state: State, decision: Decision, victim: Task, winner: Task, now: int) -> None:
    why = "it made way for a more urgent task"
    _halt(state, decision, victim, Halt(HaltCause.PREEMPTED, why, now, by=winner.id))


def interrupt(state: State, decision: Decision, event: InterruptRequested) -> None:
    task = state.tasks.get(event.task_id)
    if task is not None and may_be_interrupted(task):
        why = f"interrupted by {event.by}"
        _halt(state, decision, task, Halt(HaltCause.INTERRUPTED, why, event.now))


def _halt(state: State, decision: Decision, task: Task, halt: Halt) -> None:
    task = change(state, decision, replace(task, halt=halt))
    decision.effects.append(StopAttempt(task.id, manner(task)))
