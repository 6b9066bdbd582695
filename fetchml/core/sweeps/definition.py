"""Requests for sweeps."""

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fetchml.core.requests.checks import (
    MAX_INT,
    NULL,
    Check,
    Violation,
    check_fields,
    integer,
    line,
)
from fetchml.core.sweeps.model import Mode
from fetchml.core.sweeps.search_space import (
    MAX_TASKS,
    Axis,
    Choices,
    Draw,
    combination,
    draw,
    read_axis,
    total,
)

MAX_NAME_CHARACTERS = 128
MAX_PARAMETERS = 32
MAX_VALUES = 25_000
"""Values of all parameters of one request."""

_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def _object(value: object) -> str | None:
    return None if isinstance(value, dict) else "must be an object"


def _mode(value: object) -> str | None:
    return None if value in tuple(Mode) else f"must be one of {', '.join(Mode)}"


_RULES: dict[str, Check] = {
    "name": line(MAX_NAME_CHARACTERS, empty=False),
    "task": _object,
    "parameters": _object,
    "mode": _mode,
    "samples": integer(1, MAX_TASKS),
    "random_seed": integer(0, MAX_INT),
    "max_parallel": integer(0, MAX_TASKS),
}

KNOWN_FIELDS = frozenset(_RULES)
"""Known request properties. Others are ignored and named in the reply's header (reading 12)."""


def field_fault(name: str, value: object) -> str | None:
    """The fault of one field's value by itself; `None` if it is valid."""
    return _RULES[name](value)


@dataclass(frozen=True, slots=True)
class Definition:
    """A valid request for a sweep, apart from its task."""

    name: str
    """Empty if the request has none."""
    task: Mapping[str, object]
    axes: tuple[tuple[str, Axis], ...]
    """The parameters in the order of their names."""
    mode: Mode
    total: int
    samples: int | None
    random_seed: int | None
    """`None` if the mode is RANDOM and the request has none: the server chooses it."""
    max_parallel: int

    def drawn(self, seed: int, indexes: range) -> "array[float]":
        """Draw the parameters of the tasks with these indexes, if the mode is RANDOM: a number for
        each parameter of the first one, then of the next. Each takes 20 µs."""
        numbers = array("d")
        if self.mode is Mode.RANDOM:
            for index in indexes:
                numbers.extend(draw(self.axes, seed, index))
        return numbers

    def parameters(self, index: int, drawn: Sequence[float] = ()) -> dict[str, str]:
        """The parameters of the task with this index, from 0. `drawn`: its own numbers."""
        return combination(self.axes, self.mode, index, drawn)

    @property
    def described(self) -> dict[str, str]:
        return {name: axis.described for name, axis in self.axes}


def read(request: Mapping[str, object]) -> Definition | list[Violation]:
    """Return the sweep that a request asks for, or the rules that it breaks. The rules of its task
    are those of `submission`."""
    fields, violations = check_fields(request, _RULES, required=("task",))
    axes: dict[str, Axis] = {}
    given = fields.get("parameters", None if "parameters" in request else {})
    if isinstance(given, dict):
        axes, faults = _read_axes(given)
        violations += faults
    mode = Mode(str(fields.get("mode", Mode.GRID)))
    violations += _fitting(request, mode, axes)
    if violations:
        return violations
    tasks = total(axes, mode, fields.get("samples"))
    if isinstance(tasks, Violation):
        return [tasks]
    ordered = tuple(sorted(axes.items()))
    task: Mapping[str, object] = fields["task"]  # type: ignore[assignment]
    samples, seed = fields.get("samples"), fields.get("random_seed")
    most = fields.get("max_parallel", 0)
    return Definition(
        str(fields.get("name", "")),
        task,
        ordered,
        mode,
        tasks,
        samples if isinstance(samples, int) else None,
        seed if isinstance(seed, int) else None,
        most if isinstance(most, int) else 0,
    )


def _read_axes(given: dict[str, object]) -> tuple[dict[str, Axis], list[Violation]]:
    if not 1 <= len(given) <= MAX_PARAMETERS:
        return {}, [Violation("parameters", f"must be 1 to {MAX_PARAMETERS}")]
    axes: dict[str, Axis] = {}
    violations: list[Violation] = []
    variables: dict[str, str] = {}
    values = 0
    for name, described in given.items():
        field = f"parameters.{name[:80]}"
        if not _PARAMETER.fullmatch(name):
            rule = "the name must be 1 to 64 letters, digits and _, and not begin with a digit"
            violations.append(Violation(field, rule))
            continue
        other = variables.setdefault(name.upper(), name)
        if other != name:
            rule = f"sets the variable FETCHML_PARAM_{name.upper()}, as {other} does: rename one"
            violations.append(Violation(field, rule))
            continue
        axis = NULL if described is None else read_axis(described)
        if isinstance(axis, str):
            violations.append(Violation(field, axis))
            continue
        axes[name] = axis
        values += len(axis.texts) if isinstance(axis, Choices) else 0
        if values > MAX_VALUES:
            # A range of a few bytes has as many values as a list may: the rest is not read.
            rule = f"must not have more than {MAX_VALUES} values in all"
            violations.append(Violation("parameters", rule))
            break
    return axes, violations


def _fitting(
    request: Mapping[str, object], mode: Mode, axes: Mapping[str, Axis]
) -> list[Violation]:
    """Return the fields that do not fit the mode."""
    if mode is Mode.RANDOM:
        needed = "is required with mode random: the number of tasks"
        return [] if "samples" in request else [Violation("samples", needed)]
    found = [
        Violation(name, f"is only for mode random, the mode is {mode}")
        for name in ("samples", "random_seed")
        if name in request
    ]
    return found + [
        Violation(f"parameters.{name}", f"is drawn at random, which needs mode random, not {mode}")
        for name, axis in axes.items()
        if isinstance(axis, Draw)
    ]
