"""The bytes of a log as lines for a terminal."""

import codecs

from rich.text import Text

LONGEST = 2000
"""Characters of a line that are shown."""


class LogLines:
    """Splits a log into lines. The last one is shown while it grows."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def feed(self, data: bytes) -> list[Text]:
        """Return the lines that a piece of the log completes."""
        *lines, rest = (self._line + self._decoder.decode(data)).split("\n")
        # Only what follows the last carriage return is visible, and only the start of that.
        self._line = rest if len(rest) <= LONGEST else _visible(rest)[:LONGEST]
        return [as_text(line) for line in lines]

    @property
    def growing(self) -> Text:
        """The line that is not complete yet."""
        return as_text(self._line)


def as_text(line: str) -> Text:
    """Return a line with its colours, and without anything else that steers a terminal."""
    text = Text.from_ansi(_visible(line)[:LONGEST].replace("\t", "    "))
    text.plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.plain)
    return text


def _visible(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]
