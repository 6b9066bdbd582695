"""The ways to end an attempt that the core stops, and the next state of its task."""

from enum import StrEnum

from fetchml.core.model import AttemptEnd, Halt, HaltCause, Server, Status, Task, TaskSpec


class Manner(StrEnum):
    """Ways to end an attempt, from the mildest to the hardest."""

    WARN = "warn"
    """SIGUSR1 at once, SIGTERM `warn_seconds` later, then the grace period and SIGKILL."""
    TERMINATE = "terminate"
    """SIGTERM at once, then the grace period and SIGKILL."""
    KILL = "kill"
    """SIGKILL at once, as if the host were lost."""


def manner(task: Task) -> Manner:
    """Return the way to end the attempt of a task that is cancelled or halted.

    A warning is a favour to the task's user: the server does not give it when it ends a task by
    itself, for its disk use for example, nor when a GPU of the attempt has failed.
    """
    warns = task.spec.warn_seconds > 0
    if task.cancel is not None:
        by_server = isinstance(task.cancel.actor, Server)
        return Manner.WARN if warns and not by_server else Manner.TERMINATE
    match task.halt.cause if task.halt is not None else None:
        case HaltCause.INTERRUPTED:
            return Manner.KILL
        case HaltCause.PREEMPTED | HaltCause.IDLE if warns:
            return Manner.WARN
        case _:
            return Manner.TERMINATE


def may_be_interrupted(task: Task) -> bool:
    """Whether the task has a running command that is not being stopped."""
    return task.status is Status.RUNNING and task.cancel is None and task.halt is None


def was_ended_by(halt: Halt, end: AttemptEnd, spec: TaskSpec) -> bool:
    """Whether a halt ended the attempt, and not the command by itself. A command that was warned
    may save its state and leave before SIGTERM, with any exit code."""
    return end.stopped or (spec.warn_seconds > 0 and end.at >= halt.at)


def goes_on(end: AttemptEnd, task: Task) -> bool:
    """Whether the attempt ended only because the core stopped it: the task is queued again, and no
    retry is counted.

    An interrupted command was killed unless it had done its work just before.
    """
    halt = task.halt
    if halt is None or task.cancel is not None or end.timed_out:
        return False
    if halt.cause is HaltCause.PREEMPTED:
        return was_ended_by(halt, end, task.spec)
    return halt.cause is HaltCause.INTERRUPTED and end.start_error is None and end.code != 0
