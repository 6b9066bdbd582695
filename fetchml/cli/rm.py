"""`fetchml rm`"""

import click

from fetchml.cli.connect import server_option
from fetchml.cli.each_task import for_each
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.task_ids import task_id_of
from fetchml.client import Client, ended, status_name


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@server_option
def rm(client: Client, task_ids: tuple[str, ...]) -> int:
    """Remove ended tasks from the history, with their logs and outputs.

    A live task stays: cancel it first. Statistics keep counting removed tasks.
    """

    def one(named: str) -> None:
        task = client.get(task_id_of(client, named))
        if not ended(task):
            raise CommandError(
                f"{task.id} is {status_name(task)}",
                f"Cancel it first: fetchml cancel {task.id}",
                ExitCode.CONFLICT,
            )
        client.delete(task.id)
        click.echo(f"{task.id} is removed")

    return for_each(task_ids, one)
