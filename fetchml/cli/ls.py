"""`fetchml ls`"""

import click

from fetchml.cli.connect import server_option
from fetchml.cli.filters import filter_options, limit_option
from fetchml.cli.named_ids import sweep_id_of
from fetchml.cli.output import Output, output_option, print_list
from fetchml.cli.render import console, counted, has_narrow_terminal
from fetchml.cli.task_table import task_table
from fetchml.client import Client, Where, to_json


@click.command()
@limit_option("Show at most N tasks", default=50)
@click.option(
    "--offset", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N", help="Skip N tasks."
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY[=VALUE]",
    help="Show only tasks with this label. Repeatable; all must match.",
)
@click.option(
    "--text",
    default="",
    metavar="TEXT",
    help="Show only tasks with this text in job name, id, command, arguments or error.",
)
@click.option("--sweep", default="", metavar="SWEEP", help="Show only tasks of this sweep.")
@output_option
@server_option
@filter_options
def ls(
    client: Client,
    where: Where,
    limit: int,
    offset: int,
    labels: tuple[str, ...],
    text: str,
    sweep: str,
    output: Output,
) -> None:
    """List tasks, newest first.

    \b
    Examples:
      fetchml ls --status running --user ada
      fetchml ls --label model=resnet --text 'out of memory'
      fetchml ls -o wide
      fetchml ls --status queued -o name | xargs -r fetchml cancel
      fetchml ls -o 'template={id}\\t{status}\\t{metadata.lr}'
    """
    sweep_id = sweep_id_of(client, sweep)
    found = client.page(limit, offset, labels=labels, text=text, sweep_id=sweep_id, **where)
    short = output.kind == "table" and has_narrow_terminal()
    whole = {"tasks": [], **to_json(found)}
    print_list(output, whole, found.tasks, lambda: task_table(found.tasks, short_ids=short))
    beyond = found.total - offset - len(found.tasks)
    if beyond > 0 and output.kind != "json":
        more = counted(beyond, "more task")
        console(stderr=True).print(f"{more}: use --limit or --offset", style="dim")
