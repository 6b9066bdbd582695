"""`fetchml ls`"""

import click

from fetchml.cli.client import Client, json_option, server_option
from fetchml.cli.filters import filter_options
from fetchml.cli.render import console, print_json, show, task_table, to_json
from fetchml.v1 import task_pb2


@click.command()
@filter_options
@click.option("--limit", type=click.IntRange(0, 1000), default=50, show_default=True)
@click.option(
    "--offset", type=click.IntRange(0, 2**31 - 1), default=0, help="Pass over so many tasks."
)
@json_option
@server_option
def ls(
    client: Client,
    status: tuple[str, ...],
    user: str,
    name: str,
    experiment: str,
    limit: int,
    offset: int,
    *,
    as_json: bool,
) -> None:
    """List tasks, newest first."""
    found = client.call(
        client.tasks.ListTasks,
        task_pb2.ListTasksRequest(
            states=status,
            user_id=user,
            job_name_prefix=name,
            experiment_id=experiment,
            limit=limit,
            offset=offset,
            view=task_pb2.FULL,
        ),
    )
    if as_json:
        print_json({"tasks": [], **to_json(found)})
        return
    show(task_table(found.tasks))
    beyond = found.total - offset - len(found.tasks)
    if beyond > 0:
        console(stderr=True).print(f"{beyond} more: --limit, --offset", style="dim")
