"""`fetchml backup` and `fetchml restore`"""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import click
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.backup import archive as archives
from fetchml.backup.archive import BadBackup
from fetchml.backup.restore import RestoreReport
from fetchml.backup.restore import restore as restore_backup
from fetchml.backup.store_copy import PREFIX, remove_unheld, taken
from fetchml.cli.connect import connected
from fetchml.cli.errors import CommandError, ExitCode, reason
from fetchml.cli.render import clean, local_time, show
from fetchml.cli.settings_options import data_dir_option
from fetchml.cli.tables import table
from fetchml.client import Rpc, Unreachable
from fetchml.client.connection import CONTROL
from fetchml.config.data_dir import default_data_dir
from fetchml.files.control_socket import control_socket
from fetchml.files.data_dir import as_owner
from fetchml.files.own_file import AlreadyExists, new_file, require_free
from fetchml.system import stdio
from fetchml.system.signals import held_back, interruptible
from fetchml.v1 import backup_pb2

COPY_STORE = Rpc(
    "BackupService/CopyStore",
    backup_pb2.CopyStoreRequest(),
    backup_pb2.CopyStoreResponse,
    repeatable=False,
)
COPY_SECONDS = 24 * 3600
"""Longer than any copy takes. The connection notices a server that died or hangs in a minute."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@data_dir_option("Data directory on this machine. Its server may be running.")
@click.option(
    "--no-tasks", is_flag=True, help="Leave out the tasks' outputs and logs, and artifacts."
)
@click.option(
    "--with-keys",
    is_flag=True,
    help="Include the server's keys: the backup then gives admin access to it.",
)
def backup(file: Path, data_dir: Path | None, *, no_tasks: bool, with_keys: bool) -> None:
    """Back up a data directory to FILE, a tar archive; '-' writes to stdout.

    The server may be running: the backup holds its store as it was at one moment. It holds all
    users' tasks, with their environment variables and outputs, and is not encrypted. Without
    --with-keys it holds no key that opens a server. docs/operations.md lists its contents.

    \b
    Examples:
      fetchml backup fetchml.tar
      fetchml backup - | age -r RECIPIENT > fetchml.tar.age
    """
    folder = (data_dir or default_data_dir()).resolve()
    with held_back():
        try:
            _require_writable(file)
            with _store(folder) as store, _opened(file) as archive, interruptible():
                left_out = archives.write(
                    archive, folder, store, with_outputs=not no_tasks, with_keys=with_keys
                )
        except AlreadyExists as error:
            raise CommandError(str(error), "Choose another name.", ExitCode.USAGE) from error
        except (archives.BadBackup, OSError) as error:
            raise CommandError(f"No backup was made: {reason(error)}") from error
    if left_out:
        files = "file or folder" if left_out == 1 else "files or folders"
        click.echo(f"Left out: {left_out} {files} that cannot be read, or are links.", err=True)


@contextmanager
def _store(data_dir: Path) -> Iterator[Path]:
    """Yield a folder with a store that does not change: a copy that the server makes, or the store
    itself if no server runs. Raises BadBackup, CommandError, OSError."""
    try:
        copy = _copied_by_server(data_dir)
    except FileNotFoundError as error:
        raise archives.BadBackup(f"{data_dir} is not a data directory of FetchML") from error
    except CommandError as failure:
        if not isinstance(failure.__cause__, Unreachable):
            raise
        with ExitStack() as stack:
            # A missing lock is created here. Only the owner's server can open a lock of the owner.
            with as_owner(data_dir):
                store = stack.enter_context(archives.resting_store(data_dir))
                remove_unheld(data_dir)
            yield store
        return
    with ExitStack() as stack:
        try:
            store = stack.enter_context(taken(copy))
        except OSError as error:
            raise archives.BadBackup(
                f"the server's copy of its store has disappeared ({error}): try again"
            ) from error
        yield store


def _copied_by_server(data_dir: Path) -> Path:
    """Let the server copy its store. Raises BadBackup, CommandError, OSError."""
    with (
        control_socket(data_dir) as socket,
        connected(f"{CONTROL}{socket}", None) as client,
        interruptible(),
    ):
        name = client.with_options(deadline=COPY_SECONDS).call(COPY_STORE).folder
    # The copy is removed at the end. Root must not remove any other folder that a server names.
    if not name.startswith(PREFIX) or "/" in name:
        raise archives.BadBackup(f"the server returned {name!r}, which is not the name of a copy")
    return data_dir / name


def _require_writable(file: Path) -> None:
    """Check the destination before the store is copied. Raises AlreadyExists, CommandError."""
    if str(file) != "-":
        require_free(file)
    elif "stdout" in stdio.missing:
        raise CommandError(
            "Cannot write the backup: stdout is closed",
            "Redirect stdout (fetchml backup - > FILE), or name a file.",
            ExitCode.USAGE,
        )
    elif sys.stdout.isatty():
        raise CommandError(
            "Cannot write the backup to a terminal: it is a binary file",
            "Redirect stdout (fetchml backup - > FILE), or name a file.",
            ExitCode.USAGE,
        )


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Raises AlreadyExists, OSError."""
    if str(file) != "-":
        with new_file(file) as archive:
            yield archive
        return
    try:
        yield sys.stdout.buffer
        with interruptible():
            sys.stdout.buffer.flush()
    except BaseException:
        # Else Python would write the rest at exit, and wait for a reader that may have stopped.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


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
            with _opened_archive(file) as archive:
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
def _opened_archive(file: Path) -> Iterator[BinaryIO]:
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
