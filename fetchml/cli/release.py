"""`fetchml release`"""

import click

from fetchml.cli.connect import server_option
from fetchml.cli.each_task import for_each
from fetchml.cli.task_ids import task_id_of
from fetchml.client import Client


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@server_option
def release(client: Client, task_ids: tuple[str, ...]) -> int:
    """Release tasks held by 'fetchml hold' or 'fetchml submit --hold'.

    \b
    Example:
      fetchml release @last
    """

    def act(named: str) -> None:
        click.echo(f"{client.update(task_id_of(client, named), hold=False).id} is released")

    return for_each(task_ids, act)
