"""The outcome of an attempt: what its end means for the task."""

import signal as signals
from typing import NamedTuple

from fetchml.core.model import (
    AttemptEnd,
    Cancel,
    FailureReason,
    Halt,
    HaltCause,
    TaskSpec,
)

STOPPED = "stopped from outside, as when the Docker engine or the machine shuts down"

_BY_SIGNAL = 128
"""Exit codes of shells above this mean that a child died by a signal."""


class Verdict(NamedTuple):
    reason: FailureReason | None
    """`None` if the task completed."""
    error: str | None
    exit_code: int | None


def cancelled(cancel: Cancel) -> str:
    return f"cancelled by {cancel.by}"


def exit_code(end: AttemptEnd) -> int | None:
    """Return 128 + N for signal N, as shells do; `None` if the end is not known."""
    return end.code if end.signal is None else _BY_SIGNAL + end.signal


def is_failure(end: AttemptEnd) -> bool:
    return end.code != 0 or end.stopped or end.timed_out


def may_be_from_outside(end: AttemptEnd) -> bool:
    """Whether something other than the task may have caused a recorded end: a signal that the shim
    received too, or that ended the command or a child of it. The task's time limit and the warning
    before it are the shim's own, so that such a record is true."""
    by_shim = end.timed_out or (end.warned and end.signal == signals.SIGUSR1)
    by_signal = end.signal is not None or (end.code is not None and end.code > _BY_SIGNAL)
    return not by_shim and (end.stopped or by_signal)


def was_ended_by(halt: Halt, end: AttemptEnd, spec: TaskSpec) -> bool:
    """Whether a halt ended the attempt, and not the command by itself. A command that was warned
    may save its state and leave before SIGTERM, with any exit code."""
    return end.stopped or (spec.warn_seconds > 0 and end.at >= halt.at)


def judge(
    end: AttemptEnd,
    spec: TaskSpec,
    cancel: Cancel | None,
    halt: Halt | None = None,
    *,
    changed: bool = False,
) -> Verdict:
    """Decide an attempt's outcome.

    A cancel goes before everything else, since it was acknowledged. A failed GPU comes next,
    whatever the command made of it. OUT_OF_MEMORY requires a death by SIGKILL, or that of the shim
    too: the kernel may have killed a child only, and the command went on. A command that was
    stopped has not done its work even if it exited with 0, as one does that saves its state on
    SIGTERM. `changed`: the time limit was changed while the attempt ran.
    """
    code = exit_code(end)
    if cancel is not None:
        return Verdict(FailureReason.CANCELLED, cancelled(cancel), code)
    if halt is not None and halt.cause in (HaltCause.GPU, HaltCause.GPU_MEMORY):
        return Verdict(FailureReason.LOST, halt.why, code)
    if end.start_error is not None:
        error = f"{spec.command[0]}: {end.start_error}"
        return Verdict(FailureReason.START_FAILED, error, code)
    if end.timed_out:
        limit = f"timed out after {spec.timeout_seconds} s"
        if changed and _ended_before(spec.timeout_seconds, end):
            limit = "timed out: it reached its earlier time limit before the change took effect"
        return Verdict(FailureReason.TIMEOUT, end.lost or limit, code)
    if end.warned and end.signal == signals.SIGUSR1:
        why = (
            f"ended by SIGUSR1, the warning {spec.warn_seconds} s before its time limit of "
            f"{spec.timeout_seconds} s, which the command does not handle"
        )
        return Verdict(FailureReason.TIMEOUT, why, code)
    is_idle = halt is not None and halt.cause is HaltCause.IDLE
    if halt is not None and is_idle and (end.lost is not None or was_ended_by(halt, end, spec)):
        return Verdict(FailureReason.IDLE, halt.why, code)
    if end.out_of_memory and (code == 128 + signals.SIGKILL or end.lost is not None):
        had = f"its {spec.memory_gb} GiB" if spec.memory_gb else "the memory it could have"
        return Verdict(FailureReason.OUT_OF_MEMORY, f"used more than {had} of memory", code)
    if end.no_image and end.lost is not None:
        return Verdict(FailureReason.PREPARE_FAILED, end.lost, code)
    if end.lost is not None or end.stopped:
        declared = halt is not None and halt.cause is HaltCause.DECLARED_LOST
        why = halt.why if halt is not None and declared else end.lost or STOPPED
        return Verdict(FailureReason.LOST, why, code)
    if end.signal is not None:
        return Verdict(FailureReason.SIGNAL, f"ended by {_signal_name(end.signal)}", code)
    if end.code != 0:
        return Verdict(FailureReason.EXIT_CODE, f"exit code {end.code}", end.code)
    return Verdict(None, None, 0)


def _ended_before(seconds: int, end: AttemptEnd) -> bool:
    """Whether the attempt ended before a time limit; 0: none."""
    return not seconds or (end.started_at is not None and end.at - end.started_at < seconds * 1000)


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
