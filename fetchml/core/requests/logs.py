"""Rules of requests for a log: which part of it, and what to search for."""

import msgspec

MAX_OFFSET = 2**63 - 1
MAX_TAIL_LINES = 1_000_000
MAX_QUERY_BYTES = 1024
MAX_MATCHES = 1000
DEFAULT_MATCHES = 100


class LogRange(msgspec.Struct, frozen=True):
    """The part of a log to read. It starts where the last of `offset`, `tail` and `since` does;
    without them at the first kept byte."""

    attempt: int | None = None
    """`None`: the current attempt, and in a followed log those after it."""
    offset: int | None = None
    """First byte, counted from the start of the attempt's log."""
    tail: int | None = None
    """Start at the last lines, this number of them."""
    since: int | None = None
    """Start at the bytes written from this time on (milliseconds since the epoch, UTC)."""
    limit: int | None = None
    """Most bytes to return. `None`: no limit."""

    def fault(self) -> str | None:
        """Return the fault of the range; `None` if it is valid."""
        return (
            number_fault("attempt", self.attempt, 1)
            or number_fault("offset", self.offset, 0)
            or number_fault("tail", self.tail, 0, MAX_TAIL_LINES)
            or number_fault("limit", self.limit, 0)
        )


class LogSearch(msgspec.Struct, frozen=True):
    """A search in the log of one attempt, from a byte on in one direction."""

    text: str
    attempt: int | None = None
    """`None`: the current attempt."""
    offset: int | None = None
    """Search from this byte on; `backwards`: before it. `None`: the whole log."""
    limit: int = DEFAULT_MATCHES
    """Most matches to return."""
    backwards: bool = False
    """Search towards the start of the log, the last match first."""
    ignore_case: bool = False
    """Treat the letters A to Z and a to z as equal."""

    def fault(self) -> str | None:
        """Return the fault of the search; `None` if it is valid."""
        if not self.text:
            return "q: the text to search for is missing"
        if len(self.text.encode(errors="replace")) > MAX_QUERY_BYTES:
            return f"q: must not be longer than {MAX_QUERY_BYTES} bytes"
        if "\n" in self.text:
            return "q: must be part of one line, so it has no line break"
        return (
            number_fault("attempt", self.attempt, 1)
            or number_fault("offset", self.offset, 0)
            or number_fault("limit", self.limit, 1, MAX_MATCHES)
        )


def number_fault(name: str, value: int | None, least: int, most: int = MAX_OFFSET) -> str | None:
    """Return the fault of a number; `None` if it is valid or absent."""
    if value is None or least <= value <= most:
        return None
    if most == MAX_OFFSET:
        return f"{name}: must be at least {least}"
    return f"{name}: must be between {least} and {most}"
