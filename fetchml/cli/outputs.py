"""`fetchml outputs`"""

from collections.abc import Sequence
from pathlib import Path

import click

from fetchml.cli.connect import server_option
from fetchml.cli.downloading import fetch_all
from fetchml.cli.output import Output, output_option, print_list
from fetchml.cli.render import clean, local_time, size
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, TaskOutput, to_json


@click.command()
@click.argument("task_id")
@click.option(
    "--download",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Download all files to this folder. Files that are there already are left as they are.",
)
@click.option(
    "--checkpoint", "of_checkpoint", is_flag=True, help="The files of its checkpoint instead."
)
@output_option
@server_option
def outputs(
    client: Client, output: Output, task_id: str, folder: Path | None, *, of_checkpoint: bool
) -> None:
    """List the files that a task wrote to /outputs, or download all of them.

    A download that was interrupted continues when the command is repeated.

    \b
    Examples:
      fetchml outputs TASK_ID
      fetchml outputs TASK_ID --download results
    """
    place = "checkpoint" if of_checkpoint else "outputs"
    files = client.outputs(task_id, folder=place)
    if folder is not None:
        fetch_all(client, task_id, [(file, file.path) for file in files], folder, place)
        return
    whole = {"outputs": [to_json(file) for file in files]}
    print_list(output, whole, files, lambda: _table(files), name="path")


def _table(files: Sequence[TaskOutput]) -> FittedTable:
    shown = table("PATH", "SIZE", "MODIFIED", spare=("MODIFIED",))
    for file in files:
        shown.add_row(clean(file.path), size(file.size_bytes), local_time(file.modified_at))
    return shown
