"""Experiments by id, by the end of an id, or by name."""

import re

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.render import clean
from fetchml.client import Client

WHOLE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHORTEST_END = 4
"""Characters of an id's end that select an experiment."""


def experiment_id(client: Client, named: str) -> str:
    """Return the id of an experiment. Raises CommandError unless exactly one has that name."""
    if WHOLE.fullmatch(named) or not named:
        return named
    known = client.experiments()
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
                    f"{len(several)} experiments are named {clean(named).plain}",
                    f"Give the id of one of them: {', '.join(several)}.",
                    ExitCode.USAGE,
                )
    raise CommandError(
        f"There is no experiment {clean(named).plain}",
        "'fetchml experiment ls' lists names and ids.",
        ExitCode.NOT_FOUND,
    )
