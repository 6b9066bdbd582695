"""Sweeps as users name them: by id, by the end of an id, by name, or as their last one."""

import re

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.render import clean
from fetchml.client import Client

WHOLE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHORTEST_END = 4
LAST = "@last"
LOOKED_AT = 1000
"""The newest sweeps."""


def sweep_id_of(client: Client, named: str) -> str:
    """Return the id of a sweep. Raises CommandError unless exactly one has that name."""
    if WHOLE.fullmatch(named) or not named:
        return named
    if named == LAST:
        user = client.server_info().user_id
        known = client.sweeps(user_id=user, limit=1).sweeps
        by_name, by_end = [each.id for each in known], list[str]()
    else:
        known = client.sweeps(limit=LOOKED_AT).sweeps
        by_name = [each.id for each in known if each.name == named]
        by_end = [each.id for each in known if each.id.endswith(named.lower())]
    for found in (by_name, by_end if len(named) >= SHORTEST_END else []):
        match found:
            case [only]:
                return only
            case []:
                continue
            case several:
                raise CommandError(
                    f"{len(several)} sweeps are named {clean(named).plain}",
                    f"Give the id of one of them: {', '.join(several[:10])}.",
                    ExitCode.USAGE,
                )
    raise CommandError(
        f"There is no sweep {clean(named).plain}",
        "'fetchml sweep ls' lists names and ids.",
        ExitCode.NOT_FOUND,
    )
