"""The folder that a task is submitted from: its upload, its fetchml.toml, and the environment of
the task, as an option names it or as the folder implies it.
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fetchml.cli.render import can_redraw, console, size
from fetchml.client import Client, NotFound, Snapshot
from fetchml.client.snapshots import LocalSnapshot
from fetchml.core.environments import BadFile, script_metadata
from fetchml.core.snapshots import PROJECT_FILE
from fetchml.v1.task_pb2 import Environment


def transfer() -> Progress:
    """Return a progress bar, hidden if stderr is not a terminal."""
    out = console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        console=out,
        transient=True,
        disable=not can_redraw(out),
    )


def upload_folder(client: Client, folder: Path) -> tuple[Snapshot, LocalSnapshot]:
    """Return the snapshot of a folder, and its local form."""
    local = LocalSnapshot.read(folder)
    files = "1 file" if len(local.entries) == 1 else f"{len(local.entries)} files"
    about = f"Snapshot {local.id[:12]}: {files}, {size(sum(e.size for e in local.entries))}"
    if (snapshot := client.find_snapshot(local.id)) is not None:
        _print(f"{about}; already on the server")
        return snapshot, local
    archive, packed = local.pack()
    with archive, transfer() as progress:
        _print(f"{about}; uploading {size(packed)}")
        sent = progress.wrap_file(archive, packed, description="uploading")
        uploaded = client.send_snapshot(local, sent)
    if uploaded.id != local.id:
        _print(f"The folder changed during the upload: the snapshot is {uploaded.id[:12]}")
    return uploaded, local


def _print(text: str) -> None:
    console(stderr=True).print(text)


_MOST_BYTES = 64 * 1024
"""Of a snapshot that was uploaded to an older release."""


def of_folder(folder: Path, paths: Collection[str]) -> Mapping[str, Any] | None:
    """Return the entries of the file, none if the snapshot's `paths` don't include it; `None` if it
    can't be read: the server reports why."""
    if PROJECT_FILE not in paths:
        return {}
    try:
        return tomllib.loads((folder / PROJECT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def of_snapshot(client: Client, snapshot_id: str) -> Mapping[str, Any] | None:
    """See `of_folder`. None if there is no such snapshot, too."""
    content = b""
    try:
        for piece in client.read_snapshot_file(snapshot_id, PROJECT_FILE):
            content += piece
            if len(content) > _MOST_BYTES:
                return None
        return tomllib.loads(content.decode())
    except NotFound:
        return {}
    except (ValueError, RecursionError):
        return None


NONE = "none"
_REQUIREMENTS = "requirements.txt"
_PROJECT = ("uv.lock", "pyproject.toml")
_MAX_SCRIPT_BYTES = 1 << 20


class EnvironmentParam(click.ParamType[Environment]):
    """A file of the snapshot that lists packages, in the format of its name."""

    name = "FILE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Environment:
        if isinstance(value, Environment):
            return value
        if value == NONE:
            return Environment()
        path = PurePosixPath(value)
        if path.name in _PROJECT:
            return Environment(project=str(path.parent))
        if path.suffix == ".py":
            return Environment(script=str(path))
        if path.suffix in (".txt", ".in"):
            return Environment(requirements=str(path))
        if path.suffix:
            self.fail(
                f"{value!r} is not a requirements file (.txt), project folder or script (.py)",
                param,
                ctx,
            )
        return Environment(project=str(path))


def implied(
    client: Client,
    folder: Path,
    paths: Sequence[str],
    command: tuple[str, ...],
    image: str | None,
) -> Environment | None:
    """Return the environment of a folder's task if its request names none.

    A script of the command with inline metadata comes before a project with uv.lock, and that
    before requirements.txt. There is none if the request or fetchml.toml names an image, which has
    packages of its own, if fetchml.toml has an `environment`, or if the server offers none.
    """
    listed = _listed(folder, frozenset(paths), command)
    if listed is None or image is not None:
        return None
    project = of_folder(folder, paths)
    if project is None or "environment" in project or "image" in project:
        return None
    [(field, value)] = listed.ListFields()
    shown = f"the packages of {_REQUIREMENTS if field.name == 'requirements' else value}"
    if field.name == "project":
        shown = "the packages of uv.lock"
    hint = console(stderr=True)
    if not client.server_info().environments:
        hint.print(f"{shown} are not installed: this server offers no environments", style="dim")
        return None
    hint.print(f"The task gets {shown} ('--environment none': without them)", style="dim")
    return listed


def _listed(folder: Path, paths: frozenset[str], command: tuple[str, ...]) -> Environment | None:
    for word in command:
        path = str(PurePosixPath(word))
        if word.endswith(".py") and path in paths and _has_metadata(folder / path):
            return Environment(script=path)
    if paths.issuperset(_PROJECT):
        return Environment(project=".")
    return Environment(requirements=_REQUIREMENTS) if _REQUIREMENTS in paths else None


def _has_metadata(script: Path) -> bool:
    try:
        if script.is_symlink():
            return False
        with script.open("rb") as file:
            script_metadata(file.read(_MAX_SCRIPT_BYTES).decode(errors="replace"))
    except (OSError, BadFile):
        return False
    return True
