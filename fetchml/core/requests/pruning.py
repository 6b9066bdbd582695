"""Requests to prune: to remove old tasks, outputs and snapshots (`fetchml prune`)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from fetchml.core.model import Status, Value
from fetchml.core.requests.checks import MAX_ITEMS, Amount, UserName, Violation, read

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


class FinalStatus(StrEnum):
    COMPLETED = Status.COMPLETED
    FAILED = Status.FAILED


class PruneRequest(msgspec.Struct, frozen=True):
    older_than_seconds: Amount
    kinds: Annotated[tuple[What, ...], Meta(min_length=1, max_length=MAX_ITEMS)] = (What.TASKS,)
    states: Annotated[tuple[FinalStatus, ...], Meta(min_length=1, max_length=MAX_ITEMS)] | None = (
        None
    )
    user_id: UserName | None = None
    apply: bool = False


def pruning(request: Mapping[str, object]) -> tuple[Pruning | None, list[Violation]]:
    """Return the request, or its violations."""
    asked, violations = read(request, PruneRequest)
    if asked is None:
        return None, violations
    wanted = Pruning(
        older_than_seconds=asked.older_than_seconds,
        kinds=tuple(dict.fromkeys(asked.kinds)),
        states=tuple(dict.fromkeys(map(Status, asked.states or ()))),
        user=asked.user_id,
        apply=asked.apply,
    )
    return wanted, []
