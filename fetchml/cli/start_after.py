"""`fetchml start-after`"""

from datetime import UTC, datetime

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.param_types import StartTime
from fetchml.cli.render import local_time, print_json
from fetchml.client import Client

NOW = "now"


@click.command("start-after")
@click.argument("task_id")
@click.argument("time", metavar="TIME|now")
@json_option
@server_option
@click.pass_context
def start_after(
    context: click.Context, client: Client, task_id: str, time: str, *, as_json: bool
) -> None:
    """Set the earliest start of a waiting task.

    TIME is a time such as 2026-12-01T20:00Z, in the zone of this machine if it names none, or +90m,
    +12h or +2d from now. 'now' removes it: the task starts as soon as it can. A new task gets such
    a time by 'fetchml submit --start-after'.

    \b
    Examples:
      fetchml start-after @last +2h
      fetchml start-after @last now
    """
    earliest = datetime.fromtimestamp(0, UTC)
    if time != NOW:
        earliest = StartTime().convert(time, None, context)
    task = client.update(task_id, start_after=earliest)
    if as_json:
        print_json(task)
    elif task.HasField("start_after"):
        click.echo(f"{task.id} starts after {local_time(task.start_after)}")
    else:
        click.echo(f"{task.id} starts as soon as it can")
