"""`fetchml cancel`"""

import click

from fetchml.cli.client import Client, json_option, server_option
from fetchml.cli.render import ended, print_json, status_name
from fetchml.v1 import task_pb2


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@server_option
def cancel(client: Client, task_ids: tuple[str, ...], *, as_json: bool) -> None:
    """End tasks that wait or run. They stay in the history as failed.

    A running task gets SIGTERM, and SIGKILL when it does not end in the grace period.
    """
    for task_id in task_ids:
        task = client.call(
            client.tasks.CancelTask, task_pb2.CancelTaskRequest(task_id=task_id, view=task_pb2.FULL)
        )
        if as_json:
            print_json(task)
        elif ended(task):
            click.echo(f"{task_id} has ended before: {status_name(task)}")
        else:
            click.echo(f"{task_id} is being cancelled")
