"""Downloads of outputs, with progress. They continue after a cut."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fetchml.cli.connect import RetryNotice
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.progress import transfer
from fetchml.cli.render import clean, console, size
from fetchml.client import Client, NotFound, TaskOutput
from fetchml.core.requests.download_names import ArchiveNames


def fetch(client: Client, task_id: str, file: TaskOutput, to: Path, place: str = "outputs") -> None:
    """Download one file of the task's folder `place`. Raises CommandError."""
    with _progress(file.size_bytes) as show:
        _fetch(client, task_id, file, to, show, place)
    console(stderr=True).print(clean(f"{to}: {size(file.size_bytes)}"))


def fetch_all(
    client: Client,
    task_id: str,
    files: Sequence[tuple[TaskOutput, str]],
    folder: Path,
    place: str = "outputs",
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
                    _fetch(client, task_id, file, to, so_far, place)
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
            f"{len(missing)} files can't be downloaded, {missing[0]!r} among them",
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
    place: str,
) -> None:
    notice = RetryNotice()
    client = client.with_options(on_cut=notice)

    def received(count: int) -> None:
        notice.restored()
        show(count)

    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        client.download(task_id, file.path, to, folder=place, resume=True, on_bytes=received)
        _mark(file, to)
    except OSError as error:
        raise CommandError(f"Cannot write {to}: {error.strerror or error}") from error


def _mark(file: TaskOutput, to: Path) -> None:
    """Give the file the output's time, by which a later download recognizes it."""
    written_at = file.modified_at.ToNanoseconds()
    os.utime(to, ns=(written_at, written_at))


def _is_here(file: TaskOutput, to: Path) -> bool:
    try:
        found = to.stat()
    except OSError:
        return False
    same_time = found.st_mtime_ns // 1_000_000_000 == file.modified_at.seconds
    return to.is_file() and found.st_size == file.size_bytes and same_time


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows the number of bytes that are here, on a terminal."""
    with transfer() as progress:
        bar = progress.add_task("downloading", total=total)
        yield lambda count: progress.update(bar, completed=count)
