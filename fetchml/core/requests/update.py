"""Changes of a task that exists: which fields may change, when, and what comes of it.

A request has the changed fields only. `_RULES` has a line for each field that may change.
"""

from collections.abc import Mapping
from typing import NamedTuple, cast

from msgspec.structs import replace

from fetchml.core.model import Status, Task, TaskSpec, Value
from fetchml.core.requests import submission
from fetchml.core.requests.checks import Check, Violation, check_fields


class TaskUpdate(Value, frozen=True):
    """The changed fields of a task. `None`: stays as it is."""

    priority: int | None = None
    metadata: dict[str, str] | None = None
    """Labels to set; an empty value removes the label. All others stay."""

    @property
    def summary(self) -> str:
        """For the audit."""
        parts = [] if self.priority is None else [f"priority {self.priority}"]
        if self.metadata is not None:
            parts.append(f"labels {', '.join(sorted(self.metadata)) or 'none'}")
        return "; ".join(parts)


class InvalidUpdate(Exception):
    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.rule}" for v in violations))
        self.violations = violations


class Outcome(NamedTuple):
    """What an update makes of a task: exactly one of the two is set."""

    task: Task | None = None
    conflict: str | None = None
    """Why the task can't be changed so in its present state."""


def _labels(value: object) -> str | None:
    return submission.metadata_fault(_without_null(value))


_RULES: dict[str, Check] = {"priority": submission.priority_fault, "metadata": _labels}

KNOWN_FIELDS = frozenset(_RULES)


def read(request: Mapping[str, object]) -> TaskUpdate:
    """Raises InvalidUpdate with every violation."""
    fields, violations = check_fields(request, _RULES, required=())
    if violations:
        raise InvalidUpdate(violations)
    if not fields:
        rule = f"names no field that can be changed: {', '.join(sorted(KNOWN_FIELDS))}"
        raise InvalidUpdate([Violation("body", rule)])
    if "metadata" in fields:
        fields["metadata"] = _without_null(fields["metadata"])
    return TaskUpdate(**fields)  # type: ignore[arg-type]


def apply(task: Task, update: TaskUpdate) -> Outcome:
    """Raises InvalidUpdate if the changed task would break a rule of a request."""
    spec = task.spec
    if update.priority is not None and update.priority != spec.priority:
        if task.shown_status is not Status.QUEUED:
            state = task.shown_status
            return Outcome(conflict=f"priority: only a waiting task's can change; it is {state}")
        if task.cancel is not None:
            return Outcome(conflict="priority: the task is being cancelled")
        spec = replace(spec, priority=update.priority)
    if update.metadata is not None:
        spec = _with_labels(spec, update.metadata)
    return Outcome(task if spec == task.spec else replace(task, spec=spec))


def _with_labels(spec: TaskSpec, labels: Mapping[str, str]) -> TaskSpec:
    merged = {**(spec.metadata or {}), **labels}
    for name, text in labels.items():
        if not text:
            del merged[name]
    if wrong := submission.metadata_fault(merged):
        raise InvalidUpdate([Violation("metadata", f"{wrong} (with the labels that it has)")])
    spec = replace(spec, metadata=merged or None)
    if rule := submission.size_fault(spec):
        raise InvalidUpdate([Violation("metadata", rule)])
    return spec


def _without_null(value: object) -> object:
    """`null` removes a label, as an empty value does."""
    if not isinstance(value, dict):
        return value
    entries = cast("dict[object, object]", value)
    return {name: "" if entry is None else entry for name, entry in entries.items()}
