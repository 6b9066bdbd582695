"""Requests to prune: to remove old tasks, outputs and snapshots (`fetchml prune`)."""

import re
from collections.abc import Mapping
from enum import StrEnum

from fetchml.core.model import Status, Value
from fetchml.core.requests.checks import (
    Check,
    Violation,
    boolean,
    check_fields,
    integer,
    list_of,
    matching,
)

MAX_USER_CHARACTERS = 64
MOST_AT_ONCE = 200
"""Tasks or snapshots that one request removes; the reply counts the rest."""


class What(StrEnum):
    """Kinds of things to prune. The names are on the wire."""

    TASKS = "tasks"
    """Ended tasks, with their outputs and logs."""
    OUTPUTS = "outputs"
    """The outputs of ended tasks; the tasks and their logs stay."""
    SNAPSHOTS = "snapshots"
    """Snapshots that no live task runs and no other user has uploaded."""
    ENVIRONMENTS = "environments"
    """Environments that no task uses, and uv's caches of downloaded packages."""


class Pruning(Value, frozen=True):
    """A valid request."""

    older_than_seconds: int
    """Age since a task ended or a snapshot was last used."""
    kinds: tuple[What, ...] = (What.TASKS,)
    states: tuple[Status, ...] = ()
    """Final states of tasks to prune; empty for both."""
    user: str | None = None
    """Owner; `None` for all users, which only admins may request."""
    apply: bool = False
    """`False` for a dry run that only counts."""

    def owns(self, user: str) -> bool:
        """Whether the request is about what this user has."""
        return self.user is None or self.user == user


class Pruned(Value, frozen=True):
    """The result: what was removed, or would be."""

    tasks: int = 0
    outputs: int = 0
    """Tasks whose outputs alone are removed."""
    snapshots: int = 0
    bytes: int = 0
    files: int = 0
    environments: int = 0
    """Environments, and caches of downloaded packages."""
    left: int = 0
    """Number of those that the next request would remove."""


_USER = re.compile(r"[A-Za-z0-9._@-]+")


def _one_of(names: tuple[str, ...]) -> Check:
    def check(value: object) -> str | None:
        return None if value in names else f"must be one of {', '.join(names)}"

    return check


_RULES: dict[str, Check] = {
    "older_than_seconds": integer(0, 2**31 - 1),
    "kinds": list_of(_one_of(tuple(What)), empty=False),
    "states": list_of(_one_of((Status.COMPLETED, Status.FAILED)), empty=False),
    "user_id": matching(_USER, MAX_USER_CHARACTERS, "must be the name of a key"),
    "apply": boolean,
}


def pruning(request: Mapping[str, object]) -> tuple[Pruning | None, list[Violation]]:
    """Return the request, or its violations."""
    fields, violations = check_fields(request, _RULES, required=("older_than_seconds",))
    if violations:
        return None, violations
    kinds, states = fields.get("kinds", [What.TASKS]), fields.get("states", [])
    user = fields.get("user_id")
    assert isinstance(kinds, list)  # noqa: S101 - checked by the rules
    assert isinstance(states, list)  # noqa: S101
    return (
        Pruning(
            older_than_seconds=int(str(fields["older_than_seconds"])),
            kinds=tuple(dict.fromkeys(map(What, kinds))),
            states=tuple(dict.fromkeys(map(Status, states))),
            user=None if user is None else str(user),
            apply=fields.get("apply") is True,
        ),
        [],
    )
