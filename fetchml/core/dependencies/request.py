"""`after` and `inputs_from` of a request: the tasks and sweeps that it starts after, how they have
to end, and whose outputs it gets.

The tasks of a sweep may start after the task with the same index of another sweep (`same_index` in
`after`, or that sweep's id in `inputs_from`). When the sweep is made, each of its tasks gets the id
of the task that then has its index, so the core decides it like any other dependency.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from fetchml.core.model import Condition, Dependency, TaskSpec
from fetchml.core.requests.checks import MAX_ITEMS, also, described, line

MAX_INPUTS = 100
"""Tasks whose outputs one task gets: each is a mount."""


def _one_target(value: "str | Mapping[str, object]") -> str | None:
    if isinstance(value, str):
        return None
    if "task_id" in value and "sweep_id" in value:
        return "must have task_id or sweep_id, not both"
    if "task_id" not in value and "sweep_id" not in value:
        return "must have task_id or sweep_id"
    if "task_id" in value and value.get("same_index"):
        return "same_index is only for a sweep (sweep_id)"
    return None


def _named_once(value: "Sequence[str | Mapping[str, object]]") -> str | None:
    seen = set[str]()
    for each in value:
        task_id = each if isinstance(each, str) else each.get("task_id")
        target = str(task_id if isinstance(each, str) else task_id or each["sweep_id"])
        if target in seen:
            return f"must not name {'task' if task_id else 'sweep'} {target!r} twice"
        seen.add(target)
    return None


_Id = Annotated[str, Meta(min_length=1, max_length=64, extra=also(line))]


class AfterRequest(msgspec.Struct, frozen=True):
    """An item of `after` that is an object."""

    task_id: _Id | UnsetType = UNSET
    sweep_id: _Id | UnsetType = UNSET
    condition: Condition = Condition.COMPLETED
    same_index: bool = False


AfterRequests = Annotated[
    tuple[
        Annotated[
            _Id | AfterRequest,
            Meta(
                extra={
                    **described(
                        "must be the id of a task, or an object with task_id or sweep_id, and "
                        "condition"
                    ),
                    **also(_one_target),
                }
            ),
        ],
        ...,
    ],
    Meta(max_length=MAX_ITEMS, extra=also(_named_once)),
]
"""The field `after` of a create request."""

Inputs = Annotated[tuple[_Id, ...], Meta(max_length=MAX_INPUTS, extra=also(_named_once))]
"""The field `inputs_from` of a create request."""


def with_inputs(after: tuple[Dependency, ...], inputs: Sequence[str]) -> tuple[Dependency, ...]:
    """Return what a task starts after that gets outputs: their tasks have to complete, unless
    `after` asks for another end. `inputs`: also ids of sweeps, for the task with the same index."""
    named = {each.task_id or each.same_index * each.sweep_id for each in after}
    return (*after, *(Dependency(each) for each in inputs if each not in named))


def read(after: "Sequence[str | AfterRequest]", inputs: Sequence[str]) -> tuple[Dependency, ...]:
    """Return the conditions for the start of a task."""
    named = tuple(
        Dependency(each)
        if isinstance(each, str)
        else Dependency(
            each.task_id or "", each.condition, each.sweep_id or "", same_index=each.same_index
        )
        for each in after
    )
    return with_inputs(named, inputs) if inputs else named


MAX_FOLLOWED = 10
"""Sweeps that one sweep follows index by index: the ids of all their tasks are in memory."""


class NamedTwice(Exception):
    """A task starts after another one for two reasons. The message is for users."""


def followed(spec: TaskSpec) -> list[str]:
    """Return the ids of the sweeps that a task follows index by index, the newest first."""
    sweep_ids = {each.sweep_id for each in spec.after or () if each.same_index}
    return sorted(sweep_ids, reverse=True)


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
        twice = next(each for position, each in enumerate(targets) if each in targets[:position])
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
