"""Searches a log for a text, line by line.

The log is a task's word: it may be one endless line, or a file of a claimed size of exabytes. So
every search is bounded in time and in matches, and returns where the next one continues.

Only plain texts can be searched for. A regular expression of Python's can take exponential time in
the length of a line, and holds the interpreter's lock, so the whole server, meanwhile.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCK_BYTES = 256 * 1024
"""Read and searched at once. A longer line is searched in parts of this size."""
SECONDS = 1.0
"""Longest time of one search."""
TEXT_BYTES = 1024
"""Longest part of a line that a match shows."""
BEFORE_BYTES = 256
"""Part of it that comes before the match, where the line is longer."""

ReadLog = Callable[[int, int], tuple[int, bytes]]
"""Returns an offset and bytes of the log, from an offset and of a size: see
`AttemptFolder.read_log`."""


class Match(NamedTuple):
    offset: int
    """First byte of the match in the log."""
    line_offset: int
    """First byte of `text` in the log."""
    text: bytes


class SearchResult(NamedTuple):
    matches: list[Match]
    next_offset: int | None
    """Where to continue; `None` if there is nothing more to search."""


class _Block(NamedTuple):
    """Whole lines of the log, or a part of a line that is longer than a block."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


def search_forward(
    read: ReadLog, wanted: bytes, first: int, end: int, most: int, *, ignore_case: bool = False
) -> SearchResult:
    """Find the lines that contain `wanted` between `first` and `end`, `most` at most."""
    deadline = time.monotonic() + SECONDS
    matches: list[Match] = []
    position = first
    while position < end:
        block = _block_from(read, position, end)
        if block is None:
            return SearchResult(matches, None)
        for match in _matches(block, wanted, ignore_case=ignore_case):
            matches.append(match)
            if len(matches) == most:
                after = _line_end(block, match)
                return SearchResult(matches, after if after < end else None)
        position = block.end
        if time.monotonic() >= deadline and position < end:
            return SearchResult(matches, position)
    return SearchResult(matches, None)


def search_backward(
    read: ReadLog, wanted: bytes, first: int, end: int, most: int, *, ignore_case: bool = False
) -> SearchResult:
    """The same from `end` back to `first`; the last match comes first."""
    deadline = time.monotonic() + SECONDS
    matches: list[Match] = []
    position = end
    while position > first:
        block = _block_before(read, first, position)
        if block is None:
            return SearchResult(matches, None)
        for match in _matches_backward(block, wanted, ignore_case=ignore_case):
            matches.append(match)
            if len(matches) == most:
                before = match.line_offset
                return SearchResult(matches, before if before > first else None)
        position = block.offset
        if time.monotonic() >= deadline and position > first:
            return SearchResult(matches, position)
    return SearchResult(matches, None)


def last_lines(read: ReadLog, lines: int, first: int, end: int) -> int:
    """Return the offset of the last lines before `end`, or of as many as can be counted in time.
    A last line without a line break counts too."""
    deadline = time.monotonic() + SECONDS
    position, left = end, lines
    while position > first and left > 0:
        start, data = read(max(first, position - BLOCK_BYTES), min(BLOCK_BYTES, position - first))
        data = data[: max(0, position - start)]
        if not data:
            break
        # The line break at the very end begins no line.
        breaks = data.count(b"\n", 0, len(data) - (position == end and data.endswith(b"\n")))
        if breaks >= left:
            at = len(data) - (position == end and data.endswith(b"\n"))
            for _ in range(left):
                at = data.rfind(b"\n", 0, at)
            return start + at + 1
        left -= breaks
        position = start
        if time.monotonic() >= deadline:
            break
    return position


def _block_from(read: ReadLog, position: int, end: int) -> _Block | None:
    """Return the lines from `position` on; `None` if nothing more is kept."""
    start, data = read(position, min(BLOCK_BYTES, end - position))
    data = data[: max(0, end - start)]
    if not data:
        return None
    whole = data.rfind(b"\n") + 1
    is_last = start + len(data) >= end
    return _Block(start, data if is_last or not whole else data[:whole])


def _block_before(read: ReadLog, first: int, position: int) -> _Block | None:
    """Return the lines before `position`; `None` if nothing more is kept."""
    low = max(first, position - BLOCK_BYTES)
    start, data = read(low, position - low)
    data = data[: max(0, position - start)]
    if not data:
        return None
    # The first line may have begun earlier, unless this is the first byte that is kept.
    cut = data.find(b"\n") + 1
    if start > first and start == low and 0 < cut < len(data):
        return _Block(start + cut, data[cut:])
    return _Block(start, data)


def _matches(block: _Block, wanted: bytes, *, ignore_case: bool) -> Iterator[Match]:
    """Yield a match for each line, and for each part of a line that a match shows."""
    data = block.data
    searched, wanted = (data.lower(), wanted.lower()) if ignore_case else (data, wanted)
    at = 0
    while (position := searched.find(wanted, at)) >= 0:
        line, shown = _shown(data, position, position + len(wanted), at)
        yield Match(block.offset + position, block.offset + line, data[line:shown])
        is_whole = data[shown : shown + 1] == b"\n"
        at = shown if is_whole else shown - len(wanted) + 1


def _matches_backward(block: _Block, wanted: bytes, *, ignore_case: bool) -> Iterator[Match]:
    """The same from the end of the block to its start, with the last match of each line."""
    data = block.data
    searched, wanted = (data.lower(), wanted.lower()) if ignore_case else (data, wanted)
    # `rfind` of a text takes time by both lengths multiplied, with the interpreter's lock held;
    # `find` by their sum.
    searched, wanted = searched[::-1], wanted[::-1]
    at = len(data)
    while (back := searched.find(wanted, len(data) - at)) >= 0:
        position = len(data) - back - len(wanted)
        line, shown = _shown(data, position, position + len(wanted), 0)
        yield Match(block.offset + position, block.offset + line, data[line:shown])
        at = line + len(wanted) - 1


def _shown(data: bytes, position: int, end: int, least: int) -> tuple[int, int]:
    """Return the start and the end of the line, or of its part, that a match from `position` to
    `end` shows. It starts at `least` or later."""
    line = max(data.rfind(b"\n", 0, position) + 1, least)
    if end - line > TEXT_BYTES:
        line = max(line, position - BEFORE_BYTES)
    line_break = data.find(b"\n", end, line + TEXT_BYTES)
    return line, line_break if line_break >= 0 else max(end, min(len(data), line + TEXT_BYTES))


def _line_end(block: _Block, match: Match) -> int:
    """Return the offset after a match, where the search continues."""
    after = match.line_offset + len(match.text)
    is_break = block.data[after - block.offset : after - block.offset + 1] == b"\n"
    return after + is_break
