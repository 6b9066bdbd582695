"""`fetchml backup`"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from fetchml import backup as archives
from fetchml.cli.client import connected
from fetchml.cli.failure import Exit, Failure
from fetchml.cli.owner import as_owner
from fetchml.client import Rpc, Unreachable
from fetchml.client.connection import CONTROL
from fetchml.control import control_socket
from fetchml.settings import default_data_dir
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
def backup(file: Path, data_dir: Path | None, *, no_tasks: bool) -> None:
    """Write all that can't be had again of a data directory to FILE, a tar archive; '-': stdout.

    The server may run meanwhile: the backup holds its store as it was at one moment. The archive
    has the admin key in it: keep it like one. docs/operations.md says what is in it and why.
    """
    folder = (data_dir or default_data_dir()).absolute()
    try:
        with _store(folder) as store, _opened(file) as archive:
            left_out = archives.write(archive, folder, store, with_outputs=not no_tasks)
    except archives.BadBackup as error:
        raise Failure(f"No backup was made: {error}") from error
    except OSError as error:
        raise Failure(f"No backup was made: {error}") from error
    if left_out:
        files = "file or folder" if left_out == 1 else "files or folders"
        click.echo(f"Left out: {left_out} {files} of attempts that can't be read.", err=True)


@contextmanager
def _store(data_dir: Path) -> Iterator[Path]:
    """A folder with the store that doesn't change: a copy by the server, or its own if none runs.
    Raises BadBackup, Failure, OSError."""
    try:
        with (
            control_socket(data_dir) as socket,
            connected(f"{CONTROL}{socket}", None) as client,
        ):
            copy = data_dir / client.with_options(deadline=COPY_SECONDS).call(COPY_STORE).folder
    except FileNotFoundError as error:
        raise archives.BadBackup(f"no server's data is in {data_dir}") from error
    except Failure as failure:
        if not isinstance(failure.__cause__, Unreachable):
            raise
        with ExitStack() as stack:
            # The lock is made here where it is missing; what is written else is root's to place.
            with as_owner(data_dir):
                store = stack.enter_context(archives.resting_store(data_dir))
            yield store
        return
    try:
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Appears whole, on disk, or not at all. Raises Failure, OSError."""
    if str(file) == "-":
        if sys.stdout.isatty():
            raise Failure("A backup is no text for a terminal", code=Exit.USAGE)
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if file.exists():
        raise Failure(f"{file} exists already", "Choose another name.", Exit.USAGE)
    draft = file.with_name(f"{file.name}.part")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as archive:
            yield archive
            archive.flush()
            os.fsync(archive.fileno())
        draft.rename(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
