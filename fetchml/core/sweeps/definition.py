"""Requests for sweeps."""

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fetchml.core.requests import checks
from fetchml.core.requests.checks import MAX_ENTRIES, NULL, Amount, Violation, also, line, rules_of
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


class SweepRequest(msgspec.Struct, frozen=True):
    """A request for a sweep. `None`: not in the request."""

    task: Annotated[dict[str, Any], Meta(max_length=MAX_ENTRIES)]
    """The request of a task, whose rules are those of `submission`."""
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS, extra=also(line))] = ""
    parameters: Annotated[dict[str, Any], Meta(max_length=MAX_ENTRIES)] | None = None
    mode: Mode = Mode.GRID
    samples: Annotated[int, Meta(ge=1, le=MAX_TASKS)] | None = None
    random_seed: Amount | None = None
    max_parallel: Annotated[int, Meta(ge=0, le=MAX_TASKS)] = 0


KNOWN_FIELDS = frozenset(SweepRequest.__struct_fields__)
"""Known request properties. Others are ignored and named in the reply's header (reading 12)."""


def field_fault(name: str, value: object) -> str | None:
    """The fault of one field's value by itself; `None` if it is valid."""
    return rules_of(SweepRequest)[name].fault(value)


@dataclass(frozen=True, slots=True)
class Definition:
    """A valid request for a sweep, without its task."""

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
    """Return the requested sweep, or the rules that the request violates. The rules of its task
    are those of `submission`."""
    asked, violations = checks.read(request, SweepRequest)
    if asked is None:
        return violations
    axes, violations = _read_axes(asked.parameters or {})
    violations += _fitting(asked, axes)
    if violations:
        return violations
    tasks = total(axes, asked.mode, asked.samples)
    if isinstance(tasks, Violation):
        return [tasks]
    return Definition(
        asked.name,
        asked.task,
        tuple(sorted(axes.items())),
        asked.mode,
        tasks,
        asked.samples,
        asked.random_seed,
        asked.max_parallel,
    )


def _read_axes(parameters: dict[str, object]) -> tuple[dict[str, Axis], list[Violation]]:
    if not 1 <= len(parameters) <= MAX_PARAMETERS:
        return {}, [Violation("parameters", f"must be 1 to {MAX_PARAMETERS}")]
    axes: dict[str, Axis] = {}
    violations: list[Violation] = []
    variables: dict[str, str] = {}
    values = 0
    for name, described in parameters.items():
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


def _fitting(asked: SweepRequest, axes: Mapping[str, Axis]) -> list[Violation]:
    """Return the fields that do not fit the mode."""
    mode, samples = asked.mode, asked.samples
    if mode is Mode.RANDOM:
        needed = "is required with mode random: the number of tasks"
        return [Violation("samples", needed)] if samples is None else []
    fitting = [
        Violation(name, f"is only for mode random, the mode is {mode}")
        for name, value in (("samples", samples), ("random_seed", asked.random_seed))
        if value is not None
    ]
    return fitting + [
        Violation(f"parameters.{name}", f"is drawn at random, which needs mode random, not {mode}")
        for name, axis in axes.items()
        if isinstance(axis, Draw)
    ]
