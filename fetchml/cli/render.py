"""Output of commands: JSON for scripts, tables and text for people."""

import datetime
import json
from collections.abc import Iterable
from typing import IO, Any

import click
from google.protobuf.message import Message
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from fetchml.cli.printable import LAYOUT, printable, unguarded
from fetchml.client import to_json


class PlainConsole(Console):
    """A console that takes text literally: no markup, no emoji codes, no links, and nothing in it
    that steers the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    @property
    def file(self) -> IO[str]:
        # While rich redirects the streams, its own file is the stream that it has replaced.
        return unguarded(super().file)

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        return map(plain, super().render(renderable, options))


def plain(segment: Segment) -> Segment:
    """Return a piece of a line with printable text and without a link. Pieces that move the cursor
    stay: only rich makes them."""
    text, style, control = segment
    if control:
        return segment
    return Segment(printable(text, LAYOUT), without_link(style))


def without_link(style: Style | None) -> Style | None:
    return style.update_link(None) if style is not None and style.link else style


WIDE = 10_000
"""Columns of output that is not fitted to a terminal."""
ROOM_FOR_IDS = 120
"""Columns of a terminal from which on tables have whole ids."""


def print_json(value: Message | dict[str, Any] | list[Any]) -> None:
    """Print a value on one line: several of them are JSON Lines."""
    shown = to_json(value) if isinstance(value, Message) else value
    click.echo(json_line(shown))


def json_line(value: Any) -> str:
    """Return a value as JSON. JSON escapes the control characters of ASCII; here it escapes all
    that is not printable, so that it can be read on a terminal too."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def print_result(value: Message | dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print the result of a command: `value` with --json, else `text`."""
    if as_json:
        print_json(value)
    else:
        click.echo(text)


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text unchanged, and wraps lines only on a terminal."""
    made = PlainConsole(stderr=stderr)
    return made if made.is_terminal else PlainConsole(stderr=stderr, width=WIDE, color_system=None)


def can_redraw(out: Console) -> bool:
    """Return whether a console can rewrite what it shows: not a pipe, nor a dumb terminal."""
    return out.is_terminal and not out.is_dumb_terminal


def show(renderable: RenderableType, *, wide: bool = False) -> None:
    """Print on stdout. `wide` and output that is not for a terminal are as wide as they need."""
    out = PlainConsole(width=WIDE, color_system=None) if wide else console()
    if out.is_terminal and not wide:
        out.print(renderable)
        return
    with out.capture() as captured:
        out.print(renderable)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def clean(text: str) -> Text:
    """Return text from elsewhere as one line, see `printable`. Tables count its width as it is
    shown then."""
    return Text(printable(text))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 task`, `2 tasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def local_time(stamp: Any) -> str:
    """Return a protobuf Timestamp in local time. It may lie outside of the calendar."""
    try:
        at = datetime.datetime.fromtimestamp(stamp.seconds, datetime.UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return f"{stamp.seconds} s since 1970"
    return f"{at.year:04}-{at:%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = max(0, int(seconds))
    for size, unit, small, small_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {small_unit}"
    return f"{whole} s"


def size(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    power = min(4, (count.bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {'KMGT'[power - 1]}iB"


def show_details(lines: Iterable[tuple[str, str | Text]]) -> None:
    """Print names and values in two columns, without those whose value is empty."""
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column(overflow="fold")
    for name, value in lines:
        if value:
            shown.add_row(name, clean(value) if isinstance(value, str) else value)
    show(shown)


def has_narrow_terminal() -> bool:
    """Return whether whole ids would leave too little room for the rest of a table."""
    out = console()
    return out.is_terminal and out.width < ROOM_FOR_IDS
