"""Submitting an ended task again: whose request it is, and what the request has."""

import msgspec

from fetchml.core.model import Principal, Role, Task, TaskSpec


def request_of(spec: TaskSpec) -> dict[str, object]:
    """The request that asks for the same task: all of its fields, values of `env` included, with
    the defaults that the server had filled in. The labels are those that the task has now."""
    given = {
        name: value for name, value in msgspec.structs.asdict(spec).items() if value is not None
    }
    request: dict[str, object] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in given.items()
    }
    if spec.dataset_specs is not None:
        request["dataset_specs"] = [
            {name: text for name, text in msgspec.structs.asdict(each).items() if text is not None}
            for each in spec.dataset_specs
        ]
    return request


def submitter(who: Principal, task: Task) -> Principal:
    """On whose behalf `who` submits the task again: the new task belongs to the same user, whose
    quotas, snapshots and experiments count. The sender is `who`."""
    return Principal(task.user, Role.USER, who.key_id, who.address)
