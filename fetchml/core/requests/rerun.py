"""Rerun of an ended task: the request that asks for the same task, and its submitter."""

from collections.abc import Mapping

import msgspec

from fetchml.core.model import Dependency, Principal, Role, Task
from fetchml.core.notifications import as_request
from fetchml.core.requests import secrets

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
        request["dataset_specs"] = [
            {name: text for name, text in msgspec.structs.asdict(each).items() if text is not None}
            for each in spec.dataset_specs
        ]
    if spec.secrets is not None:
        request["secrets"] = secrets.request_of(spec.secrets)
    if spec.notify is not None:
        request["notify"] = as_request(spec.notify)
    if spec.environment is not None:
        source = spec.environment.source
        request["environment"] = {} if source is None else dict([source])
    return request


def _as_request(on: Dependency) -> dict[str, object]:
    """The task is in no sweep, so it has no index: a condition on one task is on that task only."""
    named = {"task_id": on.task_id} if on.task_id else {"sweep_id": on.sweep_id}
    return {**named, "condition": on.condition}


def submitter(who: Principal, task: Task) -> Principal:
    """On whose behalf `who` submits the task again: the new task belongs to the same user, whose
    quotas, snapshots and experiments count. The sender is `who`."""
    return Principal(task.user, Role.USER, who.key_id, who.address)
