"""Sweeps whose tasks start after the task with the same index of another sweep.

A request names the other sweep (`same_index` in `after`, or its id in `inputs_from`). When the
sweep is made, each of its tasks gets the id of the task that then has its index, so that the core
decides it like any other dependency.
"""

from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from fetchml.core.model import Dependency, TaskSpec

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
