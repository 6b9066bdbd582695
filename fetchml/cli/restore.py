"""`fetchml restore`"""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.backup.archive import BadBackup
from fetchml.backup.restore import RestoreReport
from fetchml.backup.restore import restore as restore_backup
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.render import clean, local_time, show, table
from fetchml.config.data_dir import default_data_dir
from fetchml.ops import stdio
from fetchml.system.signals import held_back, interruptible


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
    with held_back():
        try:
            with _opened(file) as archive:
                restored = restore_backup(archive, folder)
        except (BadBackup, OSError) as error:
            raise CommandError(f"Nothing was restored: {error}") from error
    if not restored.is_checked:
        click.echo(
            "Note: this backup was made by an older FetchML and has no checksum: whether it was "
            "damaged since can't be told.",
            err=True,
        )
    click.echo(f"Restored {folder}. Start its server with 'fetchml serve --data-dir {folder}'.")
    _show_keys(restored, shlex.quote(str(folder)))


def _show_keys(restored: RestoreReport, folder: str) -> None:
    """Whoever made the backup chose these: each opens the server to somebody as admin."""
    manage = f"fetchml keys --data-dir {folder}"
    if restored.admin_keys is None:
        click.echo(
            f"Its keys cannot be listed here. Look at them before others reach it: {manage} ls",
            err=True,
        )
        return
    if restored.admin_keys:
        click.echo("These keys open it as admin. Revoke each that you do not know:")
        shown = table("ID", "NAME", "MADE", "LAST USED")
        for key in restored.admin_keys:
            used = "never" if key.last_used_at is None else _local(key.last_used_at)
            shown.add_row(clean(key.id), clean(key.name), _local(key.created_at), used)
        show(shown)
        click.echo(f"  {manage} revoke ID")
    else:
        click.echo("No key opens it as admin.")
    if not restored.has_key_file:
        click.echo(
            "The admin key itself is not in this backup. Who has it can go on using it; else make "
            f"a new one: {manage} create NAME --role admin"
        )


def _local(at_ms: int) -> str:
    """A time of a backup can be any number."""
    try:
        return local_time(Timestamp(seconds=at_ms // 1000))
    except (ValueError, OverflowError, OSError):
        return "?"


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Raises CommandError, OSError."""
    if str(file) != "-":
        with interruptible():  # A pipe can wait for who writes to it.
            archive = file.open("rb")
        with archive:
            yield archive
    elif "stdin" in stdio.missing:
        raise CommandError(
            "There is no backup to read: stdin is closed",
            "Give it one (fetchml restore - < FILE), or name the file.",
            ExitCode.USAGE,
        )
    else:
        yield sys.stdin.buffer
