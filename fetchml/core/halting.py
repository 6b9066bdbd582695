"""Stops attempts: for a more urgent task, because a user interrupts them, because an admin gives
them up, or because their GPUs are idle."""

from msgspec.structs import replace

from fetchml.core.changes import change, current
from fetchml.core.events import Decision, InterruptRequested, LostDeclared, StopAttempt
from fetchml.core.model import Halt, HaltCause, Status, Task
from fetchml.core.state import State
from fetchml.core.stopping import manner, may_be_interrupted


def preempt(state: State, decision: Decision, victim: Task, winner: Task, now: int) -> None:
    why = "it made way for a more urgent task"
    halt(state, decision, victim, Halt(HaltCause.PREEMPTED, why, now, by=winner.id))


def requested(state: State, decision: Decision, event: InterruptRequested | LostDeclared) -> None:
    if isinstance(event, LostDeclared):
        declare_lost(state, decision, event)
    else:
        interrupt(state, decision, event)


def interrupt(state: State, decision: Decision, event: InterruptRequested) -> None:
    task = state.tasks.get(event.task_id)
    if task is not None and may_be_interrupted(task):
        why = f"interrupted by {event.by}"
        state.interrupts += 1
        halt(state, decision, task, Halt(HaltCause.INTERRUPTED, why, event.now))


def declare_lost(state: State, decision: Decision, event: LostDeclared) -> None:
    """Give up an attempt whose node is silent; the task is retried as after every such fault."""
    task = current(state, event.task_id, event.attempt, Status.RUNNING)
    if task is not None and may_be_interrupted(task):
        why = f"{event.by} declared it lost while its node was silent"
        halt(state, decision, task, Halt(HaltCause.DECLARED_LOST, why, event.now))


def halt(state: State, decision: Decision, task: Task, why: Halt) -> None:
    task = change(state, decision, replace(task, halt=why))
    decision.effects.append(StopAttempt(task.id, manner(task)))
