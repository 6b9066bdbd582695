"""Resources as users name them: by id, by the end of an id, or by name.

`@last` is the newest task or sweep of the user.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.render import clean
from fetchml.client import Client

LAST = "@last"
WHOLE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
END = re.compile(r"[0-9a-f-]{4,35}")
"""The end of an id that is long enough to search for."""
SHORTENED = "…"
"""Replaces the omitted part of an id in tables."""
ID_SHOWN = 12
"""Characters of a shortened id: its last part, which is random."""


def short(task_id: str) -> str:
    """Return the part of an id that differs from task to task. Commands accept it."""
    return task_id[-ID_SHOWN:]


def task_id_of(client: Client, named: str) -> str:
    """Return the id of a task. Raises CommandError unless exactly one has that name."""
    if named == LAST:
        return _last(client)
    end = named.rpartition(SHORTENED)[2].lower()
    if WHOLE.fullmatch(named) or not END.fullmatch(end):
        return named
    page = client.page(3, id_suffix=end)
    match [task.id for task in page.tasks]:
        case [only]:
            return only
        case []:
            raise CommandError(
                f"Task {clean(named).plain} not found",
                "'fetchml ls' lists the ids.",
                ExitCode.NOT_FOUND,
            )
        case some:
            raise CommandError(
                f"{page.total} ids of tasks end with {end}",
                f"Give more of the id: {', '.join(some)}{', …' if page.total > len(some) else ''}",
                ExitCode.USAGE,
            )


def _last(client: Client) -> str:
    user = client.server_info().user_id
    for task in client.page(1, user_id=user).tasks:
        return task.id
    message = f"{clean(user).plain} has submitted no task"
    raise CommandError(message, "'fetchml submit' submits one.", ExitCode.NOT_FOUND)


SHORTEST_END = 4
"""Characters of an id's end that select an experiment or a sweep."""
LOOKED_AT = 1000
"""The newest sweeps."""


class _Named(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


def id_by_end(kind: str, named: str, candidates: Callable[[], Iterable[str]]) -> str:
    """Return the only id of `candidates()` that ends with `named`. Returns `named` itself if it is
    a whole id, is too short, or if no id ends with it. Raises CommandError if several do."""
    end = named.rpartition(SHORTENED)[2].lower()
    if WHOLE.fullmatch(named) or len(end) < SHORTEST_END:
        return named
    match [each for each in candidates() if each.endswith(end)]:
        case []:
            return named
        case [only]:
            return only
        case several:
            raise CommandError(
                f"{len(several)} ids of {kind}s end with {clean(named).plain}",
                f"Give more of the id: {', '.join(several[:10])}.",
                ExitCode.USAGE,
            )


def experiment_id_of(client: Client, named: str) -> str:
    """Return the id of an experiment. Raises CommandError unless exactly one has that name."""
    if WHOLE.fullmatch(named) or not named:
        return named
    return _only("experiment", named, client.experiments())


def sweep_id_of(client: Client, named: str) -> str:
    """Return the id of a sweep. Raises CommandError unless exactly one has that name."""
    if WHOLE.fullmatch(named) or not named:
        return named
    if named == LAST:
        user = client.server_info().user_id
        for newest in client.sweeps(user_id=user, limit=1).sweeps:
            return newest.id
    return _only("sweep", named, client.sweeps(limit=LOOKED_AT).sweeps)


def _only(kind: str, named: str, candidates: Sequence[_Named]) -> str:
    by_name = [each.id for each in candidates if each.name == named]
    by_end = [each.id for each in candidates if each.id.endswith(named.lower())]
    for matches in (by_name, by_end if len(named) >= SHORTEST_END else []):
        match matches:
            case [only]:
                return only
            case []:
                continue
            case several:
                raise CommandError(
                    f"{len(several)} {kind}s are named {clean(named).plain}",
                    f"Give the id of one of them: {', '.join(several[:10])}.",
                    ExitCode.USAGE,
                )
    raise CommandError(
        f"{kind.capitalize()} {clean(named).plain} not found",
        f"'fetchml {kind} ls' lists names and ids.",
        ExitCode.NOT_FOUND,
    )
