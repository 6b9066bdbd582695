"""The sources of a sweep's parameters: options, a file, fetchml.toml, and tables of runs."""

import csv
import io
import json
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from google.protobuf.json_format import ParseDict, ParseError

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.client import CreateTaskRequest, SweepParameter
from fetchml.client.arguments import Values, parameter
from fetchml.core.requests import submission
from fetchml.core.requests.text import nearest
from fetchml.core.sweeps import definition

PROJECT_FILE = "fetchml.toml"
MAX_FILE_BYTES = 1 << 20
"""The server accepts no larger message."""
SETTINGS = ("name", "parameters", "mode", "samples", "random_seed", "max_parallel")
"""The fields of a file and of the table [sweep]."""
_PLAIN_SETTINGS = frozenset(SETTINGS) - {"parameters"}
KINDS = ("values", "range", "uniform", "log_uniform")

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?:\.\.({_NUMBER}))?")
_DRAW = re.compile(rf"(uniform|log_uniform)\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)")
_CALL = re.compile(r"\s*(\w+)\s*\([^()]*,[^()]*\)\s*")
"""A mistyped draw. As a list it would be cut within the parentheses."""


class Parameter(click.ParamType[tuple[str, Values]]):
    """`lr=0.1,0.2`, `seed=1..5`, `x=uniform(0,1)`, `y=log_uniform(1e-4,1)`, or a JSON list."""

    name = "NAME=VALUES"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Values]:
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals or not key or not text:
            self.fail(f"{value!r} is not NAME=VALUES, such as lr=0.1,0.2 or seed=1..5", param, ctx)
        try:
            return key, values_of(text)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def values_of(text: str) -> Values:
    """Parse the values of an option. Raises ValueError."""
    if text.startswith("["):
        listed = json.loads(text)
        return parameter(listed)
    if match := _RANGE.fullmatch(text):
        return SweepParameter(range=[float(number) for number in match.groups() if number])
    if (call := _CALL.fullmatch(text)) and not _DRAW.fullmatch(text):
        raise ValueError(
            f"{call[1]}(…) is not a draw: write uniform(LOW,HIGH) or log_uniform(LOW,HIGH) with "
            "two numbers, or the values as a JSON list"
        )
    if match := _DRAW.fullmatch(text):
        bounds = [float(match[2]), float(match[3])]
        is_log = match[1] == "log_uniform"
        return SweepParameter(log_uniform=bounds) if is_log else SweepParameter(uniform=bounds)
    return text.split(",")


def read_file(path: Path) -> dict[str, Any]:
    """Read a sweep from a TOML or JSON file: SETTINGS, and `task`. Raises CommandError."""
    try:
        text = _read(path)
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise _wrong(path, f"it is not {kind}: {error}") from None
    if not isinstance(content, dict):
        raise _wrong(path, "it must hold an object")
    _check(path, content, (*SETTINGS, "task"))
    if not isinstance(content.get("task", {}), dict):
        raise _wrong(path, "task must be a table")
    return content


def task_of(table: Mapping[str, Any], path: str) -> CreateTaskRequest:
    """Convert the task of a file: fields and values as in REST, TOML's times too. Raises
    CommandError."""
    task = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in table.items()
    }
    for name, value in task.items():
        if name not in submission.KNOWN_FIELDS:
            near = nearest(name, submission.KNOWN_FIELDS)
            hint = f": did you mean {near}?" if near else ""
            raise _wrong(path, f"task: {name} is not a field of a task{hint}")
        if fault := submission.field_fault(name, value):
            raise _wrong(path, f"task.{name}: {fault}")
    if "after" in task:
        task["after"] = [
            {"task_id": each} if isinstance(each, str) else each for each in task["after"]
        ]
    try:
        return ParseDict(task, CreateTaskRequest(), ignore_unknown_fields=True)
    except ParseError as error:
        raise _wrong(path, f"task: {error}") from None


def read_project(folder: Path) -> dict[str, Any]:
    """Read the table [sweep] of a folder's fetchml.toml; empty if there is none. Raises
    CommandError."""
    path = folder / PROJECT_FILE
    if not path.is_file():
        return {}
    try:
        sweep = tomllib.loads(_read(path)).get("sweep", {})
    except ValueError as error:
        raise _wrong(path, f"it is not TOML: {error}") from None
    if not isinstance(sweep, dict):
        raise _wrong(path, "sweep must be a table")
    _check(path, sweep, SETTINGS)
    return sweep


def read_table(path: Path) -> dict[str, Values]:
    """Read the runs of a CSV file with a header, or of a file of JSON lines. Raises
    CommandError."""
    try:
        text = _read(path)
        rows = _json_lines(text) if path.suffix in (".jsonl", ".ndjson") else _csv(text)
    except ValueError as error:
        raise _wrong(path, str(error)) from None
    if not rows:
        raise _wrong(path, "it has no rows")
    return {name: [row[name] for row in rows] for name in rows[0]}


def parameters_of(table: object, path: str) -> dict[str, Values]:
    """Convert the parameters of a file: lists, texts as in options, or objects as in REST."""
    if not isinstance(table, Mapping):
        raise _wrong(path, "parameters must be a table")
    parameters: dict[str, Values] = {}
    for name, values in table.items():
        try:
            parameters[str(name)] = _parameter(values)
        except (ValueError, TypeError) as error:
            raise _wrong(path, f"parameters.{name}: {error}") from None
    return parameters


def _parameter(values: object) -> Values:
    if isinstance(values, str):
        return values_of(values)
    if isinstance(values, list):
        if not values:
            raise ValueError("the list is empty")
        return parameter(values)
    if isinstance(values, Mapping):
        [kind, *others] = values or [""]
        if others or kind not in KINDS or not isinstance(values[kind], list):
            raise ValueError(f"it must have one of {', '.join(KINDS)}, with a list")
        if kind == "values":
            return _parameter(values[kind])
        return SweepParameter(**{kind: values[kind]})
    return parameter([values])  # type: ignore[list-item]  # it raises for other types


def _read(path: Path) -> str:
    """Raises CommandError, and ValueError if it is not UTF-8."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _wrong(path, error.strerror or str(error)) from None
    if len(content) > MAX_FILE_BYTES:
        raise _wrong(path, f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    return content.decode("utf-8-sig")


def _check(path: Path, table: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    if unknown := [name for name in table if name not in allowed]:
        raise _wrong(
            path, f"{unknown[0]} is not a field of a sweep; the fields are {', '.join(allowed)}"
        )
    for name in _PLAIN_SETTINGS.intersection(table):
        if fault := definition.field_fault(name, table[name]):
            raise _wrong(path, f"{name}: {fault}")


def _csv(text: str) -> list[dict[str, Any]]:
    lines = csv.reader(io.StringIO(text), strict=True)
    try:
        rows = [row for row in lines if row]
    except csv.Error as error:
        raise ValueError(f"it is not CSV: line {lines.line_num}: {error}") from None
    names = [name.strip() for name in rows[0]] if rows else []
    if len(set(names)) < len(names):
        raise ValueError("a name occurs twice in its first line")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} values, the header has {len(names)}")
    return [dict(zip(names, row, strict=True)) for row in rows[1:]]


def _json_lines(text: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} must hold an object")
        if rows and row.keys() != rows[0].keys():
            raise ValueError(f"line {number} does not have the same names as the first one")
        rows.append(row)
    return rows


def _wrong(path: Path | str, why: str) -> CommandError:
    return CommandError(f"{path} is invalid: {why}", "", ExitCode.USAGE)
