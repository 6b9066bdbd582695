"""`fetchml ls`"""

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.filters import filter_options
from fetchml.cli.render import console, print_json, show, task_table
from fetchml.client import Client, Where, to_json


@click.command()
@filter_options
@click.option(
    "--limit",
    type=click.IntRange(0, 1000),
    metavar="N",
    default=50,
    show_default=True,
    help="Show at most N tasks, up to 1000.",
)
@click.option(
    "--offset", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N", help="Skip N tasks."
)
@json_option
@server_option
def ls(
    client: Client,
    where: Where,
    limit: int,
    offset: int,
    *,
    as_json: bool,
) -> None:
    """List tasks, newest first.

    \b
    Example:
      fetchml ls --status running --user ada
    """
    found = client.page(limit, offset, **where)
    if as_json:
        print_json({"tasks": [], **to_json(found)})
        return
    show(task_table(found.tasks))
    beyond = found.total - offset - len(found.tasks)
    if beyond > 0:
        console(stderr=True).print(f"{beyond} more tasks: use --limit or --offset", style="dim")
