"""What an attempt's end means for its task."""

import signal as signals
from typing import NamedTuple

from fetchml.core.model import (
    AttemptEnd,
    Cancel,
    FailureReason,
    Halt,
    HaltCause,
    Task,
    TaskSpec,
)

STOPPED = "stopped from outside, as when the Docker engine or the machine shuts down"


class Verdict(NamedTuple):
    reason: FailureReason | None
    """None: completed."""
    error: str | None
    exit_code: int | None


def cancelled(by: Cancel) -> str:
    return f"cancelled by {by.by}"


def is_failure(end: AttemptEnd) -> bool:
    return end.code != 0 or end.stopped or end.timed_out


def was_preempted(end: AttemptEnd, task: Task) -> bool:
    """It was stopped for a more urgent task: it is queued again, and nothing is counted."""
    return (
        task.halt is not None
        and task.halt.cause is HaltCause.PREEMPTED
        and task.cancel is None
        and end.stopped
        and not end.timed_out
    )


def judge(
    end: AttemptEnd, spec: TaskSpec, cancel: Cancel | None, halt: Halt | None = None
) -> Verdict:
    """A wish to cancel goes before everything else: it was promised when it was answered. Then
    the loss of its GPU: whatever the task made of that.

    Out of memory is told only of a death by SIGKILL: the kernel may have killed just a child,
    and the task went on and ended by itself (FACTS). A task that was stopped has not done what it
    was to do, even if it ended with 0: one that saves its state on SIGTERM does so.
    """
    exit_code = end.code if end.signal is None else 128 + end.signal
    if cancel is not None:
        return Verdict(FailureReason.CANCELLED, cancelled(cancel), exit_code)
    if halt is not None and halt.cause is HaltCause.GPU:
        return Verdict(FailureReason.LOST, halt.why, exit_code)
    if end.start_error is not None:
        told = f"{spec.command[0]}: {end.start_error}"
        return Verdict(FailureReason.START_FAILED, told, exit_code)
    if end.timed_out:
        limit = f"ran longer than its limit of {spec.timeout_seconds} s"
        return Verdict(FailureReason.TIMEOUT, limit, exit_code)
    if end.out_of_memory and exit_code == 128 + signals.SIGKILL:
        had = f"its {spec.memory_gb} GiB" if spec.memory_gb else "the memory it could have"
        return Verdict(FailureReason.OUT_OF_MEMORY, f"used more than {had} of memory", exit_code)
    if end.lost is not None:
        return Verdict(FailureReason.LOST, end.lost, None)
    if end.stopped:
        return Verdict(FailureReason.LOST, STOPPED, exit_code)
    if end.signal is not None:
        return Verdict(FailureReason.SIGNAL, f"ended by {_signal_name(end.signal)}", exit_code)
    if end.code != 0:
        return Verdict(FailureReason.EXIT_CODE, f"exit code {end.code}", end.code)
    return Verdict(None, None, 0)


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
