"""`fetchml outputs` and `fetchml cp`"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from fetchml.cli.connect import RetryNotice, server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.ids import task_id_of
from fetchml.cli.list_options import Output, output_option, print_list
from fetchml.cli.project_folder import transfer
from fetchml.cli.render import clean, console, local_time, size
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, NotFound, TaskOutput, to_json
from fetchml.core.requests.download_names import ArchiveNames


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
    folder_name = "checkpoint" if of_checkpoint else "outputs"
    files = client.outputs(task_id, folder=folder_name)
    if folder is not None:
        fetch_all(client, task_id, [(file, file.path) for file in files], folder, folder_name)
        return
    whole = {"outputs": [to_json(file) for file in files]}
    print_list(output, whole, files, lambda: _table(files), name="path")


def _table(files: Sequence[TaskOutput]) -> FittedTable:
    shown = table("PATH", "SIZE", "MODIFIED", spare=("MODIFIED",))
    for file in files:
        shown.add_row(clean(file.path), size(file.size_bytes), local_time(file.modified_at))
    return shown


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
            f"File {path!r} not found in the {folder} of the task",
            "'fetchml outputs TASK_ID' lists its files, with --checkpoint those of its checkpoint.",
            ExitCode.NOT_FOUND,
        )
    fetch_all(client, task_id, below, to, folder)


def fetch(
    client: Client, task_id: str, file: TaskOutput, to: Path, folder: str = "outputs"
) -> None:
    """Download one file of the task's folder `folder`. Raises CommandError."""
    with _progress(file.size_bytes) as show:
        _fetch(client, task_id, file, to, show, folder)
    console(stderr=True).print(clean(f"{to}: {size(file.size_bytes)}"))


def fetch_all(
    client: Client,
    task_id: str,
    files: Sequence[tuple[TaskOutput, str]],
    folder: Path,
    kind: str = "outputs",
) -> None:
    """Download files, each to its path in a folder. Complete ones of the same size and time are
    left as they are. Raises CommandError if one can't be had, after the others."""
    names = ArchiveNames()
    missing: list[str] = []
    done, fetched = 0, 0
    with _progress(sum(file.size_bytes for file, _ in files)) as show:
        for file, path in files:
            # The task chose the path: on this system it may lead out of the folder.
            to = folder / names.name(path)
            before = done

            def so_far(count: int, before: int = before) -> None:
                show(before + count)

            try:
                if not _is_here(file, to):
                    _fetch(client, task_id, file, to, so_far, kind)
                    fetched += 1
            except NotFound:
                missing.append(file.path)
            done += file.size_bytes
            show(done)
    there = len(files) - fetched - len(missing)
    left = f"; {there} were there already" if there else ""
    console(stderr=True).print(clean(f"{folder}: {fetched} of {len(files)} files downloaded{left}"))
    if missing:
        raise CommandError(
            f"Cannot download {len(missing)} files, among them {missing[0]!r}",
            "A retry may have replaced the outputs. Names that are not UTF-8 can't be requested: "
            "GET /v1/tasks/{id}/archive has such files.",
            ExitCode.NOT_FOUND,
        )


def _fetch(
    client: Client,
    task_id: str,
    file: TaskOutput,
    to: Path,
    show: Callable[[int], None],
    folder: str,
) -> None:
    notice = RetryNotice()
    client = client.with_options(on_cut=notice)

    def received(count: int) -> None:
        notice.restored()
        show(count)

    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        client.download(task_id, file.path, to, folder=folder, resume=True, on_bytes=received)
        _mark(file, to)
    except OSError as error:
        raise CommandError(f"Cannot write {to}: {error.strerror or error}") from error


def _mark(file: TaskOutput, to: Path) -> None:
    """Give the file the output's time, by which a later download recognizes it."""
    written_at = file.modified_at.ToNanoseconds()
    os.utime(to, ns=(written_at, written_at))


def _is_here(file: TaskOutput, to: Path) -> bool:
    try:
        status = to.stat()
    except OSError:
        return False
    same_time = status.st_mtime_ns // 1_000_000_000 == file.modified_at.seconds
    return to.is_file() and status.st_size == file.size_bytes and same_time


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows the number of bytes that are here, on a terminal."""
    with transfer() as progress:
        bar = progress.add_task("downloading", total=total)
        yield lambda count: progress.update(bar, completed=count)
