"""`fetchml retry`"""

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.each_task import for_each
from fetchml.cli.render import print_result
from fetchml.cli.task_ids import task_id_of
from fetchml.client import Client


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@server_option
def retry(client: Client, task_ids: tuple[str, ...], *, as_json: bool) -> int:
    """Submit ended tasks again, and print the ids of the new ones.

    A new task has the same request, variables included, and the labels that the old one has now.

    \b
    Examples:
      fetchml retry @last
      fetchml ls --status failed -o name | xargs -r fetchml retry
    """

    def one(named: str) -> None:
        task = client.retry(task_id_of(client, named))
        print_result(task, task.id, as_json=as_json)

    return for_each(task_ids, one)
