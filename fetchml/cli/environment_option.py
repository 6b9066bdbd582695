"""The environment of a task that `fetchml submit` creates: as given, or implied by the folder."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import click

from fetchml.cli import project_file
from fetchml.cli.render import console
from fetchml.client import Client
from fetchml.core.environments import BadFile, script_metadata
from fetchml.v1.task_pb2 import Environment

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
    found = _listed(folder, frozenset(paths), command)
    if found is None or image is not None:
        return None
    project = project_file.of_folder(folder, paths)
    if project is None or "environment" in project or "image" in project:
        return None
    [(field, value)] = found.ListFields()
    shown = f"the packages of {_REQUIREMENTS if field.name == 'requirements' else value}"
    if field.name == "project":
        shown = "the packages of uv.lock"
    hint = console(stderr=True)
    if not client.server_info().environments:
        hint.print(f"{shown} are not installed: this server offers no environments", style="dim")
        return None
    hint.print(f"The task gets {shown} ('--environment none': without them)", style="dim")
    return found


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
