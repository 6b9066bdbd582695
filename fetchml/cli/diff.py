"""`fetchml diff`"""

from collections.abc import Iterator

import click
from rich.text import Text

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.ids import task_id_of
from fetchml.cli.render import clean, console, counted, print_json
from fetchml.client import Client, TaskDiff, enum_name

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.argument("task_id")
@click.argument("other")
@click.option("--outputs", is_flag=True, help="Compare the content of output files too.")
@json_option
@server_option
def diff(client: Client, task_id: str, other: str, *, outputs: bool, as_json: bool) -> None:
    """Compare two tasks: code, environment, data, image, parameters, hardware and results.

    Values of variables are never shown: to the owner of both tasks, it reports whether they differ.

    \b
    Examples:
      fetchml diff TASK_ID @last
      fetchml diff TASK_ID @last --outputs --json
    """
    found = client.diff(task_id, task_id_of(client, other), outputs=outputs)
    if as_json:
        print_json(found)
    else:
        show_diff(found)


def show_diff(found: TaskDiff) -> None:
    out = console()
    for line in _lines(found):
        out.print(line, soft_wrap=True)


def _lines(found: TaskDiff) -> Iterator[Text]:
    for section in found.sections:
        outcome = enum_name(section, "outcome")
        changes = len(section.changes) + section.omitted
        words = [f"{section.name:<12} {outcome}"]
        if changes:
            words.append(f"({changes} of {section.compared})" if section.compared else "")
        if section.note:
            words.append(f"- {section.note}")
        yield clean(" ".join(filter(None, words)))
        for change in section.changes:
            yield _change(change)
            for line in change.diff.removesuffix("\n").split("\n") if change.diff else ():
                yield Text("      ").append(clean(line).plain, _STYLES.get(line[:1], ""))
        if section.omitted:
            yield Text(f"    … {counted(section.omitted, 'more difference')}")


def _change(change: TaskDiff.Change) -> Text:
    """Return one difference: `+` what only the second task has, `-` what only the first has."""
    if not change.HasField("before"):
        mark, values = "+", _short(change.after)
    elif not change.HasField("after"):
        mark, values = "-", _short(change.before)
    else:
        mark, values = "~", f"{_short(change.before)} → {_short(change.after)}"
    note = f"  ({change.note})" if change.note else ""
    if change.diff:
        values = ""
    return clean(f"  {mark} {change.name}  {values}{note}".rstrip())


def _short(value: str) -> str:
    """Shorten a hash, which no person compares to its end."""
    *words, last = value.split(" ")
    is_hash = len(last) == 64 and set(last) <= set("0123456789abcdef")
    return " ".join([*words, last[:12] if is_hash else last])
