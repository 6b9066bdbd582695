"""`fetchml task`"""

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.each_task import for_each
from fetchml.cli.groups import CommandGroup
from fetchml.cli.render import print_result
from fetchml.cli.task_ids import task_id_of
from fetchml.client import Client


@click.group(cls=CommandGroup)
def task() -> None:
    """Recover tasks of a cluster. For admins.

    \b
    Examples:
      fetchml task declare-lost @last
    """


@task.command()
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@server_option
def declare_lost(client: Client, task_ids: tuple[str, ...], *, as_json: bool) -> int:
    """Give up tasks whose node is silent, and retry them.

    A node that is only cut off still runs the task, which then runs twice: make sure that the node
    is down. 'fetchml show' reports a silent node.

    \b
    Examples:
      fetchml task declare-lost 4f21
    """

    def one(named: str) -> None:
        given_up = client.declare_lost(task_id_of(client, named))
        print_result(given_up, f"{given_up.id} counts as lost; it is retried", as_json=as_json)

    return for_each(task_ids, one)
