"""`fetchml rm`"""

import click

from fetchml.cli.connect import server_option
from fetchml.client import Client, ended


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@server_option
def rm(client: Client, task_ids: tuple[str, ...]) -> None:
    """Remove ended tasks from the history. A live task is cancelled instead.

    Statistics keep counting removed tasks.
    """
    for task_id in task_ids:
        task = client.get(task_id)
        client.delete(task_id)
        click.echo(f"{task_id} {'is removed' if ended(task) else 'is being cancelled'}")
