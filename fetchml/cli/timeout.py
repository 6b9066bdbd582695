"""`fetchml timeout`"""

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.param_types import Duration
from fetchml.cli.render import print_json
from fetchml.cli.task_ids import task_id_of
from fetchml.client import Client


@click.command()
@click.argument("task_id")
@click.argument("time", metavar="TIME|+TIME|none")
@json_option
@server_option
@click.pass_context
def timeout(
    context: click.Context, client: Client, task_id: str, time: str, *, as_json: bool
) -> None:
    """Change the time limit of a waiting or running task.

    TIME counts from the start of the attempt: 90 (seconds), 30m, 12h or 2d. +TIME adds to the
    current limit, and 'none' removes the limit. The warning of --warn-seconds moves along.

    \b
    Examples:
      fetchml timeout @last 12h
      fetchml timeout @last +90m
    """
    task_id = task_id_of(client, task_id)
    seconds = 0
    if time != "none":
        seconds = Duration().convert(time.removeprefix("+"), None, context)
    if time.startswith("+"):
        present = client.get(task_id).timeout_seconds
        if not present:
            raise CommandError(
                f"{task_id} has no time limit to add to", "Give the whole time.", ExitCode.USAGE
            )
        seconds += present
    task = client.update(task_id, timeout_seconds=seconds)
    if as_json:
        print_json(task)
    elif task.timeout_seconds:
        click.echo(f"{task.id} has a time limit of {task.timeout_seconds} s")
    else:
        click.echo(f"{task.id} has no time limit")
