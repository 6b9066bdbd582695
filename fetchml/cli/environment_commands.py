"""`fetchml env`"""

from collections.abc import Iterable

import click

from fetchml.cli.connect import server_option, valid_text
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.groups import CommandGroup
from fetchml.cli.list_options import Output, limit_option, output_option, print_list
from fetchml.cli.render import clean, console, local_time, size
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, to_json
from fetchml.v1.environment_pb2 import KeptEnvironment

SHORT = 12
"""Digits of an id in a table: enough to name it."""
LEAST = 4
"""Digits that name an environment."""
ALL = 1000
"""The most that the server keeps."""


@click.group(cls=CommandGroup)
def env() -> None:
    """List and remove the environments that were installed for your tasks.

    \b
    Examples:
      fetchml env ls
      fetchml env rm 3f9a2c11d0be    the next task installs its packages again
    """


@env.command()
@click.option("--user", "user_id", metavar="NAME", default="", help="Of this user; for admins.")
@limit_option("Show at most N environments", default=50)
@output_option
@server_option
def ls(client: Client, user_id: str, limit: int, output: Output) -> None:
    """List environments, the last used first.

    Shows yours, or those of all users if you are an admin. Only tasks of its user get an
    environment.
    """
    with valid_text():
        environments = client.environments(user_id=user_id, limit=limit)
    whole = {"environments": [], **to_json(environments)}
    print_list(
        output,
        whole,
        environments.environments,
        lambda: environment_table(environments.environments),
    )
    beyond = environments.total - len(environments.environments)
    if beyond > 0 and output.kind != "json":
        console(stderr=True).print(f"{beyond} more environments: use --limit", style="dim")


def environment_table(environments: Iterable[KeptEnvironment]) -> FittedTable:
    """Return the table of `fetchml env ls`."""
    shown = table(
        *("ID", "USER", "PACKAGES OF", "IMAGE", "SIZE", "TASKS", "BUILT", "USED"),
        spare=("BUILT", "IMAGE", "USER"),
    )
    for each in environments:
        shown.add_row(
            each.id[:SHORT],
            clean(each.user_id),
            clean(f"{each.kind} {each.path}"),
            clean(each.image),
            size(each.bytes),
            str(each.tasks),
            local_time(each.created_at),
            local_time(each.last_used_at),
        )
    return shown


@env.command()
@click.argument("ids", metavar="ID…", nargs=-1, required=True)
@server_option
def rm(client: Client, ids: tuple[str, ...]) -> None:
    """Remove environments that no task uses.

    The first digits of an ID are enough, at least 4. The next task that asks for the environment
    installs its packages again, in their newest versions where the file pins none.
    """
    environment_ids = [each.id for each in client.environments(limit=ALL).environments]
    for prefix in ids:
        environment_id = _environment_id(prefix, environment_ids)
        client.delete_environment(environment_id)
        click.echo(f"{environment_id[:SHORT]} is removed")


def _environment_id(prefix: str, environment_ids: list[str]) -> str:
    """Raises CommandError."""
    matches = [each for each in environment_ids if len(prefix) >= LEAST and each.startswith(prefix)]
    if len(matches) == 1:
        return matches[0]
    why = "Several environments begin" if matches else "No environment begins"
    raise CommandError(
        f"{why} with {clean(prefix)}",
        "'fetchml env ls' lists them.",
        ExitCode.USAGE if matches else ExitCode.NOT_FOUND,
    )
