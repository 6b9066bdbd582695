"""Secrets, volumes and webhooks: a snapshot's fetchml.toml asks for them, the request grants them.

The code may be somebody else's. If its fetchml.toml alone could name them, it would get the tokens
and files of the user who submits it. So a task has those of its request only, in the form that the
request gives them.
"""

import shlex
from collections.abc import Collection, Mapping
from typing import Any, cast

from fetchml.core.requests.checks import Check, Violation, list_of
from fetchml.core.requests.project_file import ProjectFile

FIELDS = ("secrets", "volumes", "notify")
_MOST_OPTIONS = 1000
"""Characters of options in a message."""


def _name(value: object) -> str | None:
    return None if value in FIELDS else f"must be one of {', '.join(FIELDS)}"


without: Check = list_of(_name)
"""The rule of a request's `without`: entries of the file that the task leaves out."""


def violations(
    project: ProjectFile, request: Collection[str], left_out: Collection[str]
) -> list[Violation]:
    """Return a violation if the file asks for anything that the request neither names nor leaves
    out."""
    asked = {
        name: options
        for name in FIELDS
        if name not in request and name not in left_out
        if (options := _options(name, project.fields.get(name)))
    }
    if not asked:
        return []
    shown = " ".join(" ".join(options) for options in asked.values())
    if len(shown) > _MOST_OPTIONS:
        shown = "options that name each"
    rule = (
        f": the file can't grant itself what it asks for. Submit with {shown}, or leave it out: "
        f"{' '.join(f'--without {name}' for name in asked)} (in a request the fields "
        f"{', '.join(asked)}, without)"
    )
    return [project.violation(next(iter(asked)), rule)]


def _options(name: str, value: object) -> list[str]:
    """The options of `fetchml submit` that grant a valid value."""
    entries = cast("list[Any]", value or [])
    match name:
        case "secrets":
            return [f"--secret {_secret(each)}" for each in entries]
        case "volumes":
            return [f"--volume {shlex.quote(each)}" for each in entries]
    return [f"--notify {shlex.quote(_target(each))}" for each in entries]


def _secret(use: Mapping[str, str]) -> str:
    return use["name"] + (":file" if use.get("as") == "file" else "")


def _target(target: Mapping[str, Any]) -> str:
    return ",".join([*target.get("on", ()), target["url"]])
