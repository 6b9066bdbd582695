"""`fetchml rm`"""

import click

from fetchml.cli.client import Client, server_option
from fetchml.cli.render import ended
from fetchml.v1 import task_pb2


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@server_option
def rm(client: Client, task_ids: tuple[str, ...]) -> None:
    """Remove ended tasks from the history. One that still lives is cancelled instead.

    Statistics go on counting removed tasks.
    """
    for task_id in task_ids:
        task = client.call(client.tasks.GetTask, task_pb2.GetTaskRequest(task_id=task_id))
        client.call(client.tasks.DeleteTask, task_pb2.DeleteTaskRequest(task_id=task_id))
        click.echo(f"{task_id} {'is removed' if ended(task) else 'is being cancelled'}")
