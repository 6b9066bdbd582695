"""Text of others, safe to show on a terminal.

Names, errors and labels come from servers and tasks that the command line does not control. An
escape sequence in them could hide text, fill the clipboard or forge a line. Every text that a
command prints goes through `PrintableStream`, or through `console.PlainConsole` where it has
colours. Bytes do not: what `fetchml logs` and `fetchml exec` print is the task's own output.
"""

from collections.abc import Iterable
from typing import IO, Any, TextIO, cast

LAYOUT = "\n\t"
"""Control characters that a command itself prints."""


def printable(text: str, keep: str = "") -> str:
    """Return the text with characters that are not printable escaped as in Python (`\\x1b`,
    `\\u202e`): controls, marks of the writing direction, and those without a width. `keep` lists
    characters that stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class PrintableStream:
    """A text stream that escapes what is not printable. Its `buffer` takes bytes unchanged."""

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
    return cast("TextIO", PrintableStream(unguarded(stream)))


def unguarded(stream: IO[str]) -> TextIO:
    """Return the stream itself, for text whose parts from elsewhere are `printable`."""
    found = stream.rich_proxied_file if isinstance(stream, PrintableStream) else stream
    return cast("TextIO", found)
