"""`fetchml hold`"""

import click

from fetchml.cli.connect import server_option
from fetchml.cli.each_task import for_each
from fetchml.cli.task_ids import task_id_of
from fetchml.client import Client


@click.command()
@click.argument("task_ids", nargs=-1, required=True)
@server_option
def hold(client: Client, task_ids: tuple[str, ...]) -> int:
    """Keep waiting tasks from starting, until they are released.

    Held tasks keep their age. 'fetchml submit --hold' submits a task that is held from the start.

    \b
    Examples:
      fetchml hold @last
      fetchml release @last
    """

    def act(named: str) -> None:
        click.echo(f"{client.update(task_id_of(client, named), hold=True).id} is held")

    return for_each(task_ids, act)
