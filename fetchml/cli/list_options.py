"""The options of lists: `--limit`, filters, and `-o`, which prints a table, JSON, ids, or lines of
a template.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import click
from google.protobuf.message import Message
from rich.console import RenderableType

from fetchml.cli.ids import experiment_id_of as id_of
from fetchml.cli.render import clean, print_json, show
from fetchml.client import Client, Where, to_json
from fetchml.core.requests.text import nearest

Command = TypeVar("Command", bound=Callable[..., Any])
STATES = ("queued", "preparing", "running", "collecting", "completed", "failed")


def limit_option(shown: str, *, default: int, least: int = 0) -> Callable[[Command], Command]:
    """Return the option `--limit`, up to 1000. `shown`: the help text for the N items."""
    return click.option(
        "--limit",
        type=click.IntRange(least, 1000),
        metavar="N",
        default=default,
        show_default=True,
        help=f"{shown}, up to 1000.",
    )


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filter options to a command, and pass it their values as `where`."""

    @click.option(
        "--status",
        multiple=True,
        type=click.Choice(STATES),
        help="Show only tasks with this status. Repeatable.",
    )
    @click.option("--user", default="", metavar="NAME", help="Show only this user's tasks.")
    @click.option("--name", default="", metavar="PREFIX", help="Show only jobs with this prefix.")
    @click.option(
        "--experiment",
        default="",
        metavar="NAME",
        help="Show only tasks of this experiment: its name or id.",
    )
    @functools.wraps(command)
    def with_filters(
        client: Client,
        status: tuple[str, ...],
        user: str,
        name: str,
        experiment: str,
        **options: Any,
    ) -> Any:
        where = Where(
            states=status,
            user_id=user,
            job_name_prefix=name,
            experiment_id=id_of(client, experiment),
        )
        return command(client=client, where=where, **options)

    return with_filters


KINDS = ("json", "wide", "name", "template=TEXT")
FIELD = re.compile(r"\{\{|\}\}|\{([a-z0-9_]+(?:\.[^{}]*)?)\}")

Row = Message | dict[str, Any]


class Template:
    """Text with fields in braces, such as `{id} {metadata.lr}`."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a brace that encloses no field."""
        self._text = text.replace("\\t", "\t").replace("\\n", "\n")
        if re.search("[{}]", FIELD.sub("", self._text)):
            raise ValueError("it has a brace without a field; write {{ or }} for a brace")
        self._fields = [match[1] for match in FIELD.finditer(self._text) if match[1]]

    def fill(self, row: Row) -> str:
        """Return the text for a row. Raises UsageError for a field that its type does not have."""
        if isinstance(row, Message):
            names = [field.name for field in row.DESCRIPTOR.fields]
            for name in self._fields:
                if name.partition(".")[0] not in names:
                    close = nearest(name, names)
                    hint = f" Did you mean {close!r}?" if close else ""
                    raise click.UsageError(
                        f"Unknown field {name!r}.{hint} The fields are {', '.join(names)}."
                    )
        values = to_json(row) if isinstance(row, Message) else row

        def value(match: re.Match[str]) -> str:
            return match[0][0] if match[1] is None else _shown(_walk(values, match[1]))

        return FIELD.sub(value, self._text)


class Output(NamedTuple):
    """The chosen format."""

    kind: str
    """`table`, or one of KINDS without its value."""
    template: Template | None = None


class OutputParam(click.ParamType[Output]):
    """`json`, `wide`, `name`, or `template=TEXT`."""

    name = "FORMAT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Output:
        if isinstance(value, Output):
            return value
        kind, equals, text = str(value).partition("=")
        if kind == "template":
            if not text:
                self.fail("give the template: -o 'template={id} {status}'", param, ctx)
            try:
                return Output(kind, Template(text))
            except ValueError as error:
                self.fail(f"the template {text!r} is malformed: {error}", param, ctx)
        if equals or kind not in KINDS:
            self.fail(f"{value!r} is not one of {', '.join(KINDS)}", param, ctx)
        return Output(kind)


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-o` and `--json` to a command, and pass it the chosen `output`."""

    @click.option(
        "-o",
        "--output",
        type=OutputParam(),
        metavar="FORMAT",
        help="Print json, wide (all columns), name (ids), or 'template={id} {status}'.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON: the same as -o json.")
    @functools.wraps(command)
    def with_output(output: Output | None, *, as_json: bool, **options: Any) -> Any:
        chosen = output or Output("json" if as_json else "table")
        if as_json and chosen.kind != "json":
            raise click.UsageError("Give --json or -o, not both.")
        return command(output=chosen, **options)

    return with_output


def print_list(
    output: Output,
    whole: Message | dict[str, Any] | list[Any],
    rows: Iterable[Row],
    shown: Callable[[], RenderableType],
    *,
    name: str = "id",
) -> None:
    """Print a list in the chosen format. `whole` is its JSON, `shown` returns its table, and
    `name` is the field that identifies a row."""
    if output.kind == "json":
        print_json(whole)
    elif output.kind == "name":
        for row in rows:
            value = getattr(row, name) if isinstance(row, Message) else row.get(name, "")
            click.echo(clean(str(value)).plain)
    elif output.template is not None:
        for row in rows:
            for line in output.template.fill(row).split("\n"):
                click.echo("\t".join(clean(part).plain for part in line.split("\t")))
    else:
        show(shown(), wide=output.kind == "wide")


def _walk(values: Any, path: str) -> Any:
    """Return the value at a dotted path. A key may contain dots: the longest one is taken."""
    if not path or values is None:
        return values
    if isinstance(values, dict):
        parts = path.split(".")
        for count in range(len(parts), 0, -1):
            if (key := ".".join(parts[:count])) in values:
                return _walk(values[key], ".".join(parts[count:]))
        return None
    if isinstance(values, list) and path.isascii() and path.isdigit() and int(path) < len(values):
        return values[int(path)]
    return None


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
