"""Tasks as users name them: by id, by the end of an id, or as the one they submitted last."""

import re

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.render import clean
from fetchml.client import Client

LAST = "@last"
WHOLE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
END = re.compile(r"[0-9a-f-]{4,35}")
"""The end of an id that is long enough to search for."""
SHORTENED = "…"
"""Stands for the left-out part of an id in tables."""
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
    found = client.page(3, id_suffix=end)
    match [task.id for task in found.tasks]:
        case [only]:
            return only
        case []:
            raise CommandError(
                f"There is no task {clean(named).plain}",
                "'fetchml ls' lists the ids.",
                ExitCode.NOT_FOUND,
            )
        case some:
            raise CommandError(
                f"{found.total} ids of tasks end with {end}",
                f"Give more of the id: {', '.join(some)}{', …' if found.total > len(some) else ''}",
                ExitCode.USAGE,
            )


def _last(client: Client) -> str:
    user = client.server_info().user_id
    for task in client.page(1, user_id=user).tasks:
        return task.id
    message = f"{clean(user).plain} has submitted no task"
    raise CommandError(message, "'fetchml submit' submits one.", ExitCode.NOT_FOUND)
