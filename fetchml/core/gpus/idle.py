"""When a running task leaves its GPUs idle, and when it is stopped for that.

A task is idle once its GPUs were used less than `[gpu] idle_percent` for `idle_seconds`, in samples
without a gap. With `idle_action = "stop"` it is stopped if that goes on for
`idle_warning_seconds` more.

Not counted: the first `idle_start_seconds` of an attempt (compilers, downloads), time without
samples (the server was away, the driver or a node did not answer), and tasks that may be idle
(`may_idle`). After a gap the count starts again, because the task may have computed meanwhile. A
mark from before the gap stays: `Task.idle_since` is stored, and the first sample of use clears it.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from fetchml.core.events import Decision, GpusUsed
from fetchml.core.gpus.model import Quiet, busiest
from fetchml.core.lifecycle import change, halt, raise_notice
from fetchml.core.model import Halt, HaltCause, Status, Task
from fetchml.core.notifications.targets import EventKind
from fetchml.core.requests.times import shown_time
from fetchml.core.scheduling.limits import IdleRule
from fetchml.core.state import State

GAP_MS = 30_000
"""Samples further apart leave a gap. They are taken every 10 s, on nodes of a cluster too."""


def used(state: State, decision: Decision, event: GpusUsed) -> None:
    """Find the tasks that have become idle, are used again, or are to be stopped."""
    rule = state.limits.idle
    if rule is None:
        return
    found = {use.uuid: use for use in event.gpus}
    before, state.quiet = state.quiet, {}
    for task_id in list(state.held):
        task = state.tasks[task_id]
        if not _counts(task):
            continue
        percent = event.tasks.get(task_id)
        if percent is None:
            percent = busiest(task, found, state.gpus.holders)
        if percent is None:
            if (unchanged := before.get(task_id)) is not None:
                state.quiet[task_id] = unchanged
        elif percent >= rule.percent:
            if task.idle_since is not None:
                change(state, decision, replace(task, idle_since=None))
        elif event.now >= (task.started_at or 0) + rule.start_ms:
            quiet = state.quiet[task_id] = _quiet(task, before, event.now)
            _decide(state, decision, rule, task, quiet, event.now)


def _counts(task: Task) -> bool:
    ends = task.cancel is not None or task.halt is not None
    runs = task.status is Status.RUNNING and bool(task.gpu_uuids)
    return runs and not ends and not task.spec.may_idle


def _quiet(task: Task, before: Mapping[str, Quiet], now: int) -> Quiet:
    """Return the quiet time up to this sample."""
    last = before.get(task.id)
    if last is None or last.attempt != task.attempt or not 0 <= now - last.last <= GAP_MS:
        return Quiet(task.attempt, now, now)
    return last._replace(last=now)


def _decide(
    state: State, decision: Decision, rule: IdleRule, task: Task, quiet: Quiet, now: int
) -> None:
    lasted = now - quiet.since
    if lasted < rule.idle_ms:
        return
    if task.idle_since is None:
        task = change(state, decision, replace(task, idle_since=quiet.since))
        raise_notice(decision, task, EventKind.IDLE)
    # A service has a rule of its own, about its user (`core.jupyter_services`).
    if rule.warning_ms is None or task.service or lasted < rule.idle_ms + rule.warning_ms:
        return
    why = (
        f"its GPUs were idle for {lasted // 1000} s: less than {rule.percent} % of them was used "
        f"since {shown_time(quiet.since)}"
    )
    halt(state, decision, task, Halt(HaltCause.IDLE, why, now))
