"""Text of others, safe to show on a terminal.

Names, errors and labels come from servers and tasks that the command line does not control. An
escape sequence in them could hide text, fill the clipboard or forge a line. Every text that a
command prints goes through `PrintableStream`, or through `render.PlainConsole` where it has
colours. Bytes do not: what `fetchml logs` and `fetchml exec` print is the task's own output.
"""

import codecs
import unicodedata
from collections.abc import Iterable
from io import TextIOWrapper
from typing import IO, Any, TextIO, cast

LAYOUT = "\n\t"
"""Control characters that a command itself prints."""


def printable(text: str, keep: str = "") -> str:
    """Return the text with characters that are not printable escaped as in Python (`\\x1b`,
    `\\u202e`): controls, marks of the writing direction, those without a width, and those that
    Unicode assigns no meaning. All kinds of blanks stay, and the characters that `keep` lists."""
    if text.isprintable() or text.translate(dict.fromkeys(map(ord, keep))).isprintable():
        return text
    return "".join(c if c in keep else _shown(c) for c in text)


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


class PrintableStream:
    """A text stream that escapes unprintable characters. Its `buffer` takes bytes unchanged."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream
        """The stream itself, for those that print colours: rich looks for it by this name."""

    def write(self, text: str) -> int:
        return self.rich_proxied_file.write(printable(text, LAYOUT))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def guarded(stream: TextIO) -> TextIO:
    """Return the stream such that its text is printable."""
    inner = unguarded(stream)
    if isinstance(inner, TextIOWrapper) and codecs.lookup(inner.encoding).name == "ascii":
        # click would replace the stream by one of its own, as UTF-8 too.
        inner.reconfigure(encoding="utf-8", errors="replace")
    return cast("TextIO", PrintableStream(inner))


def unguarded(stream: IO[str]) -> TextIO:
    """Return the stream itself, for text whose parts from elsewhere are `printable`."""
    inner = stream.rich_proxied_file if isinstance(stream, PrintableStream) else stream
    return cast("TextIO", inner)
