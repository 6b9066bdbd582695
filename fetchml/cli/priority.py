"""`fetchml priority`"""

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.render import print_result
from fetchml.client import Client


@click.command()
@click.argument("task_id")
@click.argument("priority", type=click.IntRange(1, 10))
@json_option
@server_option
def priority(client: Client, task_id: str, priority: int, *, as_json: bool) -> None:
    """Change the priority of a waiting task: 1 to 10. 10 is the most urgent.

    The task takes its new place in the queue at once.

    \b
    Example:
      fetchml priority @last 9
    """
    task = client.update(task_id, priority=priority)
    print_result(task, f"{task.id} has priority {task.priority}", as_json=as_json)
