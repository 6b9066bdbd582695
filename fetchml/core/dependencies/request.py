"""`after` and `inputs_from` of a request: the tasks and sweeps that it starts after, how they have
to end, and whose outputs it gets.

The tasks of a sweep may start after the task with the same index of another sweep (`same_index` in
`after`, or that sweep's id in `inputs_from`). When the sweep is made, each of its tasks gets the id
of the task that then has its index, so the core decides it like any other dependency.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from msgspec.structs import replace

from fetchml.core.model import Condition, Dependency, TaskSpec
from fetchml.core.requests.checks import MAX_ENTRIES, NULL, boolean, line, list_of

MAX_INPUTS = 100
"""Tasks whose outputs one task gets: each is a mount."""

_id = line(64, empty=False)


def _item_fault(value: object) -> str | None:
    if isinstance(value, str):
        return _id(value)
    if not isinstance(value, dict):
        return "must be the id of a task, or an object with task_id or sweep_id, and condition"
    if len(value) > MAX_ENTRIES:
        return f"must not have more than {MAX_ENTRIES} properties"
    for name in ("task_id", "sweep_id", "condition", "same_index"):
        if name in value and value[name] is None:
            return f"{name} {NULL}"
    named = [name for name in ("task_id", "sweep_id") if name in value]
    if len(named) != 1:
        return "must have task_id or sweep_id" + (", not both" if named else "")
    if wrong := _id(value[named[0]]):
        return f"{named[0]} {wrong}"
    if wrong := boolean(value.get("same_index", False)):
        return f"same_index {wrong}"
    if "task_id" in named and value.get("same_index"):
        return "same_index is only for a sweep (sweep_id)"
    condition = value.get("condition", Condition.COMPLETED)
    if not isinstance(condition, str) or condition not in tuple(Condition):
        return f"condition must be one of {', '.join(Condition)}"
    return None


_items_fault = list_of(_item_fault)
_ids_fault = list_of(_id)


def fault(value: object) -> str | None:
    if wrong := _items_fault(value):
        return wrong
    seen = set[str]()
    for each in _read(cast("list[Any]", value)):
        if each.target in seen:
            return f"must not name {'task' if each.task_id else 'sweep'} {each.target!r} twice"
        seen.add(each.target)
    return None


def inputs_fault(value: object) -> str | None:
    if wrong := _ids_fault(value):
        return wrong
    ids = cast("list[str]", value)
    if len(ids) > MAX_INPUTS:
        return f"must not have more than {MAX_INPUTS} items"
    twice = next((each for number, each in enumerate(ids) if each in ids[:number]), None)
    return None if twice is None else f"must not name task {twice!r} twice"


def with_inputs(
    after: tuple[Dependency, ...] | None, inputs: Sequence[str]
) -> tuple[Dependency, ...]:
    """Return what a task starts after that gets outputs: their tasks have to complete, unless
    `after` asks for another end. `inputs`: also ids of sweeps, for the task with the same index."""
    named = {each.task_id or each.same_index * each.sweep_id for each in after or ()}
    return (*(after or ()), *(Dependency(each) for each in inputs if each not in named))


def read(value: object) -> tuple[Dependency, ...] | None:
    """Convert a valid value; an empty list asks for nothing."""
    return tuple(_read(cast("list[Any]", value))) or None


def _read(items: list[Any]) -> list[Dependency]:
    return [
        Dependency(each)
        if isinstance(each, str)
        else Dependency(
            each.get("task_id", ""),
            Condition(each.get("condition", Condition.COMPLETED)),
            each.get("sweep_id", ""),
            each.get("same_index", False),
        )
        for each in items
    ]


MAX_FOLLOWED = 10
"""Sweeps that one sweep follows index by index: the ids of all their tasks are in memory."""


class NamedTwice(Exception):
    """A task starts after another one for two reasons. The message is for users."""


def followed(spec: TaskSpec) -> list[str]:
    """Return the ids of the sweeps that a task follows index by index, the newest first."""
    found = {each.sweep_id for each in spec.after or () if each.same_index}
    return sorted(found, reverse=True)


def with_sweeps(spec: TaskSpec, sweep_ids: Collection[str]) -> TaskSpec:
    """Return a request whose `inputs_from` may have ids of sweeps, with conditions on the tasks of
    the same index in place of conditions on these ids."""
    after = tuple(
        Dependency("", each.condition, each.task_id, same_index=True)
        if each.task_id in sweep_ids
        else each
        for each in spec.after or ()
    )
    return replace(spec, after=after or None)


def of_index(spec: TaskSpec, index: int, tasks: Mapping[str, Sequence[str]]) -> TaskSpec:
    """Return the task with this index. `tasks`: the ids of all tasks of each sweep that it follows,
    by index. Raises NamedTwice."""
    after = [
        replace(each, task_id=tasks[each.sweep_id][index])
        if each.same_index and each.sweep_id in tasks
        else each
        for each in spec.after or ()
    ]
    targets = [each.target for each in after]
    if len(set(targets)) < len(targets):
        twice = next(each for place, each in enumerate(targets) if each in targets[:place])
        raise NamedTwice(f"must not name task {twice!r} twice, once of them by its index ({index})")
    inputs = [tasks[each][index] if each in tasks else each for each in spec.inputs_from or ()]
    return replace(spec, after=tuple(after) or None, inputs_from=tuple(inputs) or None)


def renewed(spec: TaskSpec, tasks: Mapping[str, Mapping[int, str]]) -> TaskSpec:
    """Return a sweep's task that is submitted again, after the tasks that have its index now.
    `tasks`: as of `of_index`; one that is missing stays the one that was named before."""
    if spec.sweep is None:
        return spec
    index = spec.sweep.index
    now = {
        each.task_id: tasks.get(each.sweep_id, {}).get(index, each.task_id)
        for each in spec.after or ()
        if each.same_index
    }
    after = tuple(
        replace(each, task_id=now.get(each.task_id, each.task_id)) for each in spec.after or ()
    )
    inputs = tuple(now.get(each, each) for each in spec.inputs_from or ())
    return replace(spec, after=after or None, inputs_from=inputs or None)
