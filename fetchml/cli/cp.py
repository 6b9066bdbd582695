"""`fetchml cp`"""

import re
import sys
from pathlib import Path

import click

from fetchml.cli.connect import server_option
from fetchml.cli.downloading import fetch, fetch_all
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.task_ids import task_id_of
from fetchml.client import Client
from fetchml.core.requests.download_names import ArchiveNames

_CHECKPOINT = re.compile(r"/checkpoint(?=/|\Z)")


@click.command()
@click.argument("source", metavar="TASK_ID:PATH")
@click.argument("to", metavar="DEST", type=click.Path(path_type=Path))
@server_option
def cp(client: Client, source: str, to: Path) -> None:
    """Copy a file, or a folder of files, that a task wrote to /outputs or /checkpoint.

    PATH lies below /outputs, or begins with /checkpoint/. A copy that was interrupted continues
    when the command is repeated.

    \b
    Examples:
      fetchml cp TASK_ID:model.bin .
      fetchml cp @last:metrics.json .
      fetchml cp TASK_ID:checkpoints results
      fetchml cp TASK_ID:/checkpoint checkpoint
    """
    task_id, colon, path = source.partition(":")
    if not colon or not task_id:
        raise click.UsageError(f"{source!r} is not TASK_ID:PATH, such as 0198c0de-…:model.bin")
    folder = "checkpoint" if _CHECKPOINT.match(path) else "outputs"
    path = path.removeprefix(f"/{folder}").strip("/")
    task_id = task_id_of(client, task_id)
    files = client.outputs(task_id, folder=folder)
    for file in files:
        if file.path == path:
            # The task chose the name: a drive or a backslash in it leads out of the folder here.
            name = path.rpartition("/")[2]
            if sys.platform == "win32":
                name = ArchiveNames().name(name)
            fetch(client, task_id, file, to / name if to.is_dir() else to, folder)
            return
    inside = f"{path}/" if path else ""
    below = [
        (file, file.path.removeprefix(inside)) for file in files if file.path.startswith(inside)
    ]
    if not below:
        raise CommandError(
            f"The task has no file {path!r} in its {folder}",
            "'fetchml outputs TASK_ID' lists its files, with --checkpoint those of its checkpoint.",
            ExitCode.NOT_FOUND,
        )
    fetch_all(client, task_id, below, to, folder)
