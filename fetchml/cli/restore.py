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
from fetchml.cli.errors import CommandError, ExitCode, reason
from fetchml.cli.render import clean, local_time, show
from fetchml.cli.settings_options import data_dir_option
from fetchml.cli.tables import table
from fetchml.config.data_dir import default_data_dir
from fetchml.ops import stdio
from fetchml.system.signals import held_back, interruptible


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@data_dir_option("Data directory to create. It must be missing or empty.")
def restore(file: Path, data_dir: Path | None) -> None:
    """Create a data directory from FILE, a backup by 'fetchml backup'; '-' reads stdin.

    Overwrites nothing: a directory that is not empty is refused. An empty one keeps its owner, and
    may be a mount point or a link to a directory.

    \b
    Example:
      fetchml restore fetchml.tar --data-dir /var/lib/fetchml
    """
    folder = data_dir or default_data_dir()
    with held_back():
        try:
            with _opened(file) as archive:
                restored = restore_backup(archive, folder)
        except (BadBackup, OSError) as error:
            raise CommandError(f"Nothing was restored: {reason(error)}") from error
    if not restored.is_checked:
        click.echo(
            "Note: this backup of an older FetchML has no checksum to detect damage with.",
            err=True,
        )
    click.echo(f"Restored {folder}. Start its server with 'fetchml serve --data-dir {folder}'.")
    _show_keys(restored, shlex.quote(str(folder)))


def _show_keys(restored: RestoreReport, folder: str) -> None:
    """Show the keys with admin access. The author of the backup chose them."""
    manage = f"fetchml keys --data-dir {folder}"
    if restored.admin_keys is None:
        click.echo(
            f"The keys cannot be listed here. Check them before the first start: {manage} ls",
            err=True,
        )
        return
    if restored.admin_keys:
        click.echo("These keys have admin access. Revoke those that you do not recognize:")
        shown = table("ID", "NAME", "MADE", "LAST USED", spare=("MADE",))
        for key in restored.admin_keys:
            used = "never" if key.last_used_at is None else _local(key.last_used_at)
            shown.add_row(clean(key.id), clean(key.name), _local(key.created_at), used)
        show(shown)
        click.echo(f"  {manage} revoke ID")
    else:
        click.echo("No key has admin access.")
    if not restored.has_key_file:
        click.echo(
            "The backup does not contain the admin key itself. If it is lost, create another: "
            f"{manage} create NAME --role admin"
        )


def _local(at_ms: int) -> str:
    """Return a time in words. A backup may hold any number."""
    try:
        return local_time(Timestamp(seconds=at_ms // 1000))
    except (ValueError, OverflowError, OSError):
        return "?"


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Raises CommandError, OSError."""
    if str(file) != "-":
        with interruptible():  # Opening a pipe waits for its writer.
            archive = file.open("rb")
        with archive:
            yield archive
    elif "stdin" in stdio.missing:
        raise CommandError(
            "Cannot read the backup: stdin is closed",
            "Redirect stdin (fetchml restore - < FILE), or name a file.",
            ExitCode.USAGE,
        )
    else:
        yield sys.stdin.buffer
