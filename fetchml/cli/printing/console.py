"""The console of all tables, colours and progress bars."""

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style

from fetchml.cli.printing.printable import LAYOUT, printable, unguarded


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
