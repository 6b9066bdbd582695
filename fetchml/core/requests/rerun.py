"""Rerun of an ended task: the request that asks for the same task, and its submitter."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from fetchml.core.model import Dependency, Principal, Rerun, Role, Task
from fetchml.core.notifications import as_request
from fetchml.core.requests import dataset, secrets, submission
from fetchml.core.requests.checks import MAX_ITEMS

MAX_PARAMETER_CHARACTERS = 1024


class RerunRequest(msgspec.Struct, frozen=True):
    """The changes of a rerun. `None` or empty: as the task has it."""

    parameters: Annotated[
        dict[
            Annotated[str, Meta(min_length=1, max_length=128)],
            Annotated[str, Meta(max_length=MAX_PARAMETER_CHARACTERS)],
        ],
        Meta(max_length=MAX_ITEMS),
    ] = {}
    args: submission.Arguments | None = None
    pinned: bool = False


def again(task: Task, wanted: RerunRequest) -> Rerun:
    """Return what the new task keeps of the one that it runs again."""
    spec = task.spec
    before = spec.rerun or Rerun(task.id)
    return Rerun(
        task.id,
        {**spec.parameters, **wanted.parameters},
        sweep_id=spec.sweep.id if spec.sweep is not None else before.sweep_id,
        own_args=wanted.args is not None or before.own_args,
    )


def pinned(task: Task, packages: Sequence[str]) -> dict[str, object]:
    """Return the fields of a request in place of those that may mean something else today: the
    image by its digest, datasets by their SHA-256, packages by their versions."""
    spec, ran_with = task.spec, task.ran_with
    fields: dict[str, object] = {}
    if ran_with is None:
        return fields
    if image := ran_with.image_digest or ran_with.image_id:
        fields["image"] = image
    if spec.dataset_specs is not None:
        sums = {each.name: each.sha256 for each in ran_with.datasets if each.sha256}
        fields["dataset_specs"] = [
            {
                **_set_fields(each),
                **({"sha256": sums[name]} if (name := dataset.read(each).name) in sums else {}),
            }
            for each in spec.dataset_specs
        ]
    if packages and spec.environment is not None and spec.environment.project is None:
        fields["environment"] = {**spec.environment.request, "versions": list(packages)}
    return fields


def _set_fields(value: msgspec.Struct) -> dict[str, object]:
    return {name: text for name, text in msgspec.structs.asdict(value).items() if text is not None}


_OF_THE_FIRST = frozenset({"hold", "start_after", "sweep", "rerun"})
_NOTHING: Mapping[str, object] = {
    "after": [],
    "inputs_from": [],
    "volumes": [],
    "secrets": [],
    "notify": [],
    "environment": {},
    "hold": False,
    "start_after": "1970-01-01T00:00:00Z",
}
"""Values of a request in place of entries of fetchml.toml that the task does not have."""


def conditions_of(task: Task) -> tuple[Dependency, ...]:
    """The conditions that still apply if the task is submitted again: those that held are left out,
    unless it needs the outputs."""
    met, needed = task.attempt or task.after_met, task.spec.inputs_from or ()
    return tuple(each for each in task.spec.after or () if not met or each.task_id in needed)


def request_of(task: Task) -> dict[str, object]:
    """The request that asks for the same task: all of its fields, values of `env` included, with
    the defaults that the server had filled in. The labels are those that the task has now. Its
    hold and its time are left out, and conditions that held: it is asked for now. So are those of
    the snapshot's fetchml.toml: explicit values take their place."""
    spec = task.spec
    given = {
        name: value
        for name, value in msgspec.structs.asdict(spec).items()
        if value is not None and name not in _OF_THE_FIRST
    }
    request: dict[str, object] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in given.items()
    }
    if spec.snapshot_id is not None:
        request |= {name: value for name, value in _NOTHING.items() if name not in request}
    if spec.after is not None:
        del request["after"]
        if (kept := conditions_of(task)) or spec.snapshot_id is not None:
            request["after"] = [_as_request(each) for each in kept]
    if spec.dataset_specs is not None:
        request["dataset_specs"] = [_set_fields(each) for each in spec.dataset_specs]
    if spec.secrets is not None:
        request["secrets"] = secrets.request_of(spec.secrets)
    if spec.notify is not None:
        request["notify"] = as_request(spec.notify)
    if spec.environment is not None:
        request["environment"] = spec.environment.request
    return request


def _as_request(on: Dependency) -> dict[str, object]:
    """The task is in no sweep, so it has no index: a condition on one task is on that task only."""
    named = {"task_id": on.task_id} if on.task_id else {"sweep_id": on.sweep_id}
    return {**named, "condition": on.condition}


def submitter(who: Principal, task: Task) -> Principal:
    """On whose behalf `who` submits the task again: the new task belongs to the same user, whose
    quotas, snapshots and experiments count. The sender is `who`."""
    return Principal(task.user, Role.USER, who.key_id, who.address)
