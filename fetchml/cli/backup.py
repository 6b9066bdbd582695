"""`fetchml backup`"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from fetchml.backup import archive as archives
from fetchml.backup.store_copy import PREFIX, remove_unheld, taken
from fetchml.cli.connect import connected
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.privileges import as_owner
from fetchml.client import Rpc, Unreachable
from fetchml.client.connection import CONTROL
from fetchml.config.data_dir import default_data_dir
from fetchml.files.new_file import PlaceTaken, new_file, require_free
from fetchml.ops import stdio
from fetchml.server.control_socket import control_socket
from fetchml.system.signals import held_back, interruptible
from fetchml.v1 import backup_pb2

COPY_STORE = Rpc(
    "BackupService/CopyStore",
    backup_pb2.CopyStoreRequest(),
    backup_pb2.CopyStoreResponse,
    repeatable=False,
)
COPY_SECONDS = 24 * 3600
"""No copy takes so long. A server that died or hangs is noticed by the connection, in a minute."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="FETCHML_DATA_DIR",
    show_envvar=True,
    metavar="DIR",
    help="Data directory on this machine, whether its server runs or not.",
)
@click.option("--no-tasks", is_flag=True, help="Leave out the tasks' outputs and logs.")
@click.option(
    "--with-keys",
    is_flag=True,
    help="With admin.key and jupyter.key: whoever reads the backup is admin of this server.",
)
def backup(file: Path, data_dir: Path | None, *, no_tasks: bool, with_keys: bool) -> None:
    """Write all that can't be had again of a data directory to FILE, a tar archive; '-': stdout.

    The server may run meanwhile: the backup holds its store as it was at one moment. It holds no
    key that opens a server, unless --with-keys asks for that; it does hold everybody's tasks, with
    their environments and outputs. It is not encrypted. Where that matters, write it to '-' and
    into a program that encrypts, such as age or gpg. docs/operations.md lists what is in it.
    """
    folder = (data_dir or default_data_dir()).absolute()
    with held_back():
        try:
            _require_place_for(file)
            with _store(folder) as store, _opened(file) as archive, interruptible():
                left_out = archives.write(
                    archive, folder, store, with_outputs=not no_tasks, with_keys=with_keys
                )
        except PlaceTaken as error:
            raise CommandError(str(error), "Choose another name.", ExitCode.USAGE) from error
        except (archives.BadBackup, OSError) as error:
            raise CommandError(f"No backup was made: {error}") from error
    if left_out:
        files = "file or folder" if left_out == 1 else "files or folders"
        click.echo(f"Left out: {left_out} {files} of attempts that can't be read.", err=True)


@contextmanager
def _store(data_dir: Path) -> Iterator[Path]:
    """A folder with the store that doesn't change: a copy by the server, or its own if none runs.
    Raises BadBackup, CommandError, OSError."""
    try:
        copy = _copied_by_server(data_dir)
    except FileNotFoundError as error:
        raise archives.BadBackup(f"no server's data is in {data_dir}") from error
    except CommandError as failure:
        if not isinstance(failure.__cause__, Unreachable):
            raise
        with ExitStack() as stack:
            # The lock is made here where it is missing; what is written else is root's to place.
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
                f"the server's copy of its store is gone ({error}): try again"
            ) from error
        yield store


def _copied_by_server(data_dir: Path) -> Path:
    """Raises BadBackup, CommandError, OSError."""
    with (
        control_socket(data_dir) as socket,
        connected(f"{CONTROL}{socket}", None) as client,
        interruptible(),
    ):
        name = client.with_options(deadline=COPY_SECONDS).call(COPY_STORE).folder
    # It is removed at the end, and by root that would be whatever a user's server named.
    if not name.startswith(PREFIX) or "/" in name:
        raise archives.BadBackup(f"the server says that its copy is {name!r}, which is none")
    return data_dir / name


def _require_place_for(file: Path) -> None:
    """Before the store is copied. Raises PlaceTaken, CommandError."""
    if str(file) != "-":
        require_free(file)
    elif "stdout" in stdio.missing:
        raise CommandError(
            "There is no place for the backup: stdout is closed",
            "Redirect it (fetchml backup - > FILE), or name a file.",
            ExitCode.USAGE,
        )
    elif sys.stdout.isatty():
        raise CommandError(
            "A backup is no text for a terminal",
            "Redirect it (fetchml backup - > FILE), or name a file.",
            ExitCode.USAGE,
        )


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Raises PlaceTaken, OSError."""
    if str(file) != "-":
        with new_file(file) as archive:
            yield archive
        return
    try:
        yield sys.stdout.buffer
        with interruptible():
            sys.stdout.buffer.flush()
    except BaseException:
        # Python would write the rest at exit, and wait for a reader who may have stopped.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
