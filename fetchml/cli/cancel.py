"""`fetchml cancel`"""

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.render import print_json
from fetchml.client import Client, ended, status_name


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@server_option
def cancel(client: Client, task_ids: tuple[str, ...], *, as_json: bool) -> None:
    """Cancel waiting or running tasks. They stay in the history as failed.

    A running task receives SIGTERM, then SIGKILL if it does not end within the grace period.
    """
    for task_id in task_ids:
        task = client.cancel(task_id)
        if as_json:
            print_json(task)
        elif ended(task):
            click.echo(f"{task_id} has already ended: {status_name(task)}")
        else:
            click.echo(f"{task_id} is being cancelled")
