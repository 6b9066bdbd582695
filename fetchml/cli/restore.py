"""`fetchml restore`"""

import sys
from pathlib import Path

import click

from fetchml import backup as archives
from fetchml.cli.failure import Failure
from fetchml.settings import default_data_dir


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="FETCHML_DATA_DIR",
    show_envvar=True,
    metavar="DIR",
    help="Data directory to make. It must be empty or missing.",
)
def restore(file: Path, data_dir: Path | None) -> None:
    """Make a data directory from FILE, which 'fetchml backup' wrote; '-': from stdin.

    Nothing is ever overwritten: a directory with anything in it is refused. One that is there and
    empty keeps its owner; it may be a mount point, or a link to a directory.
    """
    folder = data_dir or default_data_dir()
    try:
        if str(file) == "-":
            archives.restore(sys.stdin.buffer, folder)
        else:
            with file.open("rb") as archive:
                archives.restore(archive, folder)
    except archives.BadBackup as error:
        raise Failure(f"Nothing was restored: {error}") from error
    except OSError as error:
        raise Failure(f"Nothing was restored: {error}") from error
    click.echo(f"Restored {folder}. Start its server with 'fetchml serve --data-dir {folder}'.")
