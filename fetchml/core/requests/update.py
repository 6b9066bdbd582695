"""Changes of a task that exists: which fields may change, when, and what comes of it.

A request has the changed fields only: those of `UpdateRequest`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, NamedTuple, cast

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from fetchml.core.footprint import encode_spec
from fetchml.core.model import ENDED, HOLDING, NotifyTarget, Status, Task, TaskSpec, Value
from fetchml.core.notifications import NotifyRequests, targets_of
from fetchml.core.requests import checks, submission
from fetchml.core.requests.checks import Violation, also, milliseconds, time_fault


class TaskUpdate(Value, frozen=True):
    """The changed fields of a task. `None`: stays as it is."""

    priority: int | None = None
    metadata: dict[str, str] | None = None
    """Labels to set; an empty value removes the label. All others stay."""
    hold: bool | None = None
    start_after: int | None = None
    """Milliseconds since the epoch (UTC); 0: at once."""
    timeout_seconds: int | None = None
    """Run time after which an attempt is stopped; 0: no limit."""
    notify: tuple[NotifyTarget, ...] | None = None
    """Empty: the task names no addresses of its own."""

    @property
    def summary(self) -> str:
        """For the audit."""
        parts = [] if self.priority is None else [f"priority {self.priority}"]
        if self.metadata is not None:
            parts.append(f"labels {', '.join(sorted(self.metadata)) or 'none'}")
        if self.hold is not None:
            parts.append("held" if self.hold else "released")
        if self.start_after is not None:
            parts.append(f"start_after {_shown_time(self.start_after)}")
        if self.timeout_seconds is not None:
            limit = f"{self.timeout_seconds} s" if self.timeout_seconds else "none"
            parts.append(f"time limit {limit}")
        if self.notify is not None:
            parts.append(f"notify {len(self.notify)} addresses")
        return "; ".join(parts)


class InvalidUpdate(Exception):
    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.rule}" for v in violations))
        self.violations = violations


class Outcome(NamedTuple):
    """The result of an update: exactly one of the two is set."""

    task: Task | None = None
    conflict: str | None = None
    """The reason why the task can't be changed so in its present state."""


def _time(value: str) -> str | None:
    return None if value == "" else time_fault(value)


class UpdateRequest(msgspec.Struct, frozen=True):
    """The changed fields of a task. `None`: not in the request."""

    priority: submission.Priority | None = None
    metadata: submission.Labels | None = None
    hold: bool | None = None
    start_after: Annotated[str, Meta(extra=also(_time))] | None = None
    """Empty: at once."""
    timeout_seconds: submission.Seconds | None = None
    notify: NotifyRequests | None = None


KNOWN_FIELDS = frozenset(UpdateRequest.__struct_fields__)


def read(request: Mapping[str, object]) -> TaskUpdate:
    """Raises InvalidUpdate with every violation."""
    fields = {name: each for name, each in request.items() if name in KNOWN_FIELDS}
    if "start_after" in fields and fields["start_after"] is None:
        fields["start_after"] = ""
    if "metadata" in fields:
        fields["metadata"] = _without_null(fields["metadata"])
    asked, violations = checks.read(fields, UpdateRequest)
    if asked is None:
        raise InvalidUpdate(violations)
    if not fields:
        rule = f"names no field that can be changed: {', '.join(sorted(KNOWN_FIELDS))}"
        raise InvalidUpdate([Violation("body", rule)])
    start = asked.start_after
    return TaskUpdate(
        priority=asked.priority,
        metadata=asked.metadata,
        hold=asked.hold,
        start_after=None if start is None else milliseconds(start) or 0,
        timeout_seconds=asked.timeout_seconds,
        notify=None if asked.notify is None else targets_of(asked.notify),
    )


def apply(task: Task, update: TaskUpdate, *, now: int = 0, handed_over: bool = False) -> Outcome:
    """Raises InvalidUpdate if the changed task would break a rule of a request. `now`: only a
    change of the time limit needs it. `handed_over`: a cluster has the task
    and has not started it."""
    spec = task.spec
    if update.priority is not None and update.priority != spec.priority:
        if conflict := _does_not_wait(task, "priority"):
            return Outcome(conflict=conflict)
        spec = replace(spec, priority=update.priority)
    if update.hold is not None and update.hold != spec.hold:
        if conflict := _does_not_wait(task, "hold", handed_over=handed_over):
            return Outcome(conflict=conflict)
        spec = replace(spec, hold=update.hold)
    if update.start_after is not None and update.start_after != (spec.start_after or 0):
        if conflict := _does_not_wait(task, "start_after", handed_over=handed_over):
            return Outcome(conflict=conflict)
        spec = replace(spec, start_after=update.start_after or None)
    if update.timeout_seconds is not None and update.timeout_seconds != spec.timeout_seconds:
        if conflict := _limit_conflict(task, update.timeout_seconds, now, handed_over=handed_over):
            return Outcome(conflict=f"timeout_seconds: {conflict}")
        task, spec = _limited(task, spec, update.timeout_seconds)
    if update.notify is not None and update.notify != (spec.notify or ()):
        if task.status in ENDED:
            return Outcome(conflict=f"notify: the task has ended, it is {task.status}")
        spec = _that_fits(replace(spec, notify=update.notify or None), "notify")
    if update.metadata is not None:
        spec = _with_labels(spec, update.metadata)
    return Outcome(task if spec == task.spec else replace(task, spec=spec))


def _does_not_wait(task: Task, field: str, *, handed_over: bool = False) -> str | None:
    """Return why a field of waiting tasks can't change now; `None` if it can."""
    if task.shown_status is not Status.QUEUED:
        return f"{field}: can change only while the task waits; it is {task.shown_status}"
    if task.cancel is not None:
        return f"{field}: the task is being cancelled"
    if handed_over:
        return f"{field}: the cluster already has the task, and decides when it starts"
    return None


def _limit_conflict(task: Task, seconds: int, now: int, *, handed_over: bool) -> str | None:
    """Return why the time limit can't become `seconds` (0: none) now; `None` if it can."""
    if task.status in ENDED or task.status is Status.COLLECTING:
        return f"the task's command has ended; it is {task.shown_status}"
    if task.cancel is not None or task.halt is not None:
        return "the task is being ended"
    if handed_over:
        return "the cluster already has the task, with the limit that it has: wait until it runs"
    if task.status is not Status.RUNNING or task.started_at is None:
        return None
    passed, present = now - task.started_at, task.spec.timeout_seconds
    if present and passed >= present * 1000:
        return f"its time limit of {present} s is over: it is being ended"
    if seconds and passed >= seconds * 1000:
        return (
            f"it has run for {passed // 1000} s already, so a limit of {seconds} s would end it "
            "now: cancel it instead"
        )
    return None


def _limited(task: Task, spec: TaskSpec, seconds: int) -> tuple[Task, TaskSpec]:
    """Raises InvalidUpdate."""
    if 0 < seconds <= spec.warn_seconds:
        rule = f"must be more than warn_seconds, which is {spec.warn_seconds}"
        raise InvalidUpdate([Violation("timeout_seconds", rule)])
    has_attempt = task.status in HOLDING
    return replace(task, limit_changed=has_attempt), replace(spec, timeout_seconds=seconds)


def _shown_time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms else "none"


def _with_labels(spec: TaskSpec, labels: Mapping[str, str]) -> TaskSpec:
    merged = {**(spec.metadata or {}), **labels}
    for name, text in labels.items():
        if not text:
            del merged[name]
    if wrong := submission.field_fault("metadata", merged):
        raise InvalidUpdate([Violation("metadata", f"{wrong} (with the labels that it has)")])
    return _that_fits(replace(spec, metadata=merged or None), "metadata")


def _that_fits(spec: TaskSpec, changed: str) -> TaskSpec:
    """Raises InvalidUpdate."""
    if rule := submission.size_fault(encode_spec(spec)):
        raise InvalidUpdate([Violation(changed, rule)])
    return spec


def _without_null(value: object) -> object:
    """`null` removes a label, as an empty value does."""
    if not isinstance(value, dict):
        return value
    entries = cast("dict[object, object]", value)
    return {name: "" if entry is None else entry for name, entry in entries.items()}
