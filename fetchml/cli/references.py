"""Other tasks and sweeps that a task names, in options and in files, by their whole ids."""

from collections.abc import Mapping
from typing import Any, cast

import click
from google.protobuf.json_format import ParseDict

from fetchml.cli.errors import CommandError
from fetchml.cli.ids import WHOLE, sweep_id_of, task_id_of
from fetchml.cli.param_types import SAME_INDEX, SWEEP, AfterParam, split_kind
from fetchml.client import Client
from fetchml.core.requests import submission
from fetchml.v1.task_pb2 import Dependency

FIELDS = ("after", "inputs_from", "checkpoint_from")


def of_options(client: Client, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of FIELDS that options set, with whole ids. Raises CommandError, and
    UsageError for the outputs of a whole sweep."""
    resolved: dict[str, Any] = {}
    if fields["after"]:
        resolved["after"] = [_dependency(client, each, how) for each, how in fields["after"]]
    if fields["inputs_from"]:
        resolved["inputs_from"] = [_input_id(client, each) for each in fields["inputs_from"]]
    if fields["checkpoint_from"] is not None:
        resolved["checkpoint_from"] = task_id_of(client, fields["checkpoint_from"])
    return resolved


def of_file(client: Client, entries: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the entries of FIELDS in a file that name anything by less than its whole id, with
    whole ids. They have the forms of a request; each text may also be that of an option. Entries
    that break a rule are left out: the server reports them. Raises CommandError."""
    resolved: dict[str, Any] = {}
    for name in FIELDS:
        value = entries.get(name)
        if submission.field_fault(name, value) is not None or _is_whole(value):
            continue
        try:
            match name:
                case "after":
                    resolved[name] = [
                        _dependency_of_file(client, each) for each in cast("Any", value)
                    ]
                case "inputs_from":
                    resolved[name] = [_input_id(client, each) for each in cast("Any", value)]
                case _:
                    resolved[name] = task_id_of(client, cast("str", value))
        except CommandError as error:
            message = f"{path}: {name}: {error.message}"
            raise CommandError(message, error.hint, error.exit_code) from None  # type: ignore[arg-type]
        except click.UsageError as error:
            raise click.UsageError(f"{path}: {name}: {error.message}") from None
    return resolved


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return WHOLE.fullmatch(value) is not None
    if isinstance(value, Mapping):
        return _is_whole(value.get("task_id", value.get("sweep_id")))
    return isinstance(value, list) and all(_is_whole(each) for each in value)


def _dependency_of_file(client: Client, reference: str | Mapping[str, Any]) -> Dependency:
    if isinstance(reference, str):
        return _dependency(client, *AfterParam().convert(reference, None, None))
    resolved = ParseDict(dict(reference), Dependency(), ignore_unknown_fields=True)
    if resolved.task_id:
        resolved.task_id = task_id_of(client, resolved.task_id)
    else:
        resolved.sweep_id = sweep_id_of(client, resolved.sweep_id)
    return resolved


def _dependency(
    client: Client, reference: str, condition: Dependency.Condition | None
) -> Dependency:
    kind, named = split_kind(reference)
    if not kind:
        return Dependency(task_id=task_id_of(client, named), condition=condition)
    sweep_id = sweep_id_of(client, named)
    same_index = True if kind == SAME_INDEX else None
    return Dependency(sweep_id=sweep_id, same_index=same_index, condition=condition)


def _input_id(client: Client, reference: str) -> str:
    kind, named = split_kind(reference)
    if kind == SWEEP:
        raise click.UsageError(
            f"{reference}: the outputs of a whole sweep can't be inputs; {SAME_INDEX}{named} gives "
            "each task of a new sweep those of one task"
        )
    return sweep_id_of(client, named) if kind else task_id_of(client, named)
