"""A task's log as the shim stores it: the newest few files `log.<start offset>`, and the file
`times`, which records when the bytes were written.

The task can replace them, so they are read as carefully as the rest (see attempt_folder.py). The
size of `times` is bounded, and records that contradict each other, the log or the clock are left
out. Shims of older releases write none.
"""

import os
import re
import stat
import sys
from array import array
from bisect import bisect_right
from itertools import islice
from typing import NamedTuple

from fetchml.files import untrusted

_NAME = re.compile("log[.]([0-9]{20})")
_MAX_OFFSET = 1 << 60
_MAX_ENTRIES = 1000
"""A run folder has about ten entries; a task may fill it with millions."""
_ROTATED_MEANWHILE = 3
"""Retries if a segment disappears between the listing and the read."""


class _Segment(NamedTuple):
    start: int
    end: int


def bounds(run: int) -> tuple[int, int]:
    """Return the offsets of the first kept byte and of the end. `run` is the run folder's
    descriptor."""
    segments = _segments(run)
    return (segments[0].start, segments[-1].end) if segments else (0, 0)


def read(run: int, offset: int, limit: int) -> tuple[int, bytes]:
    """Return an offset and at most `limit` bytes: from `offset`, or from the first kept byte after
    it."""
    for _ in range(_ROTATED_MEANWHILE):
        try:
            return _read(run, _segments(run), offset, limit)
        except FileNotFoundError:
            continue
    return offset, b""


def _segments(run: int) -> list[_Segment]:
    segments = []
    with os.scandir(run) as entries:
        for entry in islice(entries, _MAX_ENTRIES):
            match = _NAME.fullmatch(entry.name)
            if match is None or int(match[1]) > _MAX_OFFSET:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                start = int(match[1])
                segments.append(_Segment(start, start + min(status.st_size, _MAX_OFFSET)))
    return sorted(segments)


def _read(run: int, segments: list[_Segment], offset: int, limit: int) -> tuple[int, bytes]:
    first = offset
    data = bytearray()
    for segment in segments:
        if segment.end <= first + len(data):
            continue
        if segment.start > first + len(data):
            if data:
                break
            first = segment.start
        position = first + len(data)
        wanted = min(limit - len(data), segment.end - position)
        data += untrusted.read_regular(
            run, f"log.{segment.start:020}", position - segment.start, wanted
        )
        if len(data) >= limit:
            break
    return first, bytes(data)


NAME = "times"
RECORD_BYTES = 16
"""Time in milliseconds since the epoch and offset, 64 bits each, the lower byte first."""
MAX_RECORDS = 65_536
"""The shim drops every second record before there are more."""


class LogTime(NamedTuple):
    at: int
    """Milliseconds since the epoch (UTC)."""
    offset: int
    """The byte of the log that was written then. Those before the next record followed within a
    second; in a log that grew for days, within a few seconds."""


class Bounds(NamedTuple):
    """The limits of a possible record."""

    earliest: int
    """When the gate of the attempt was opened."""
    latest: int
    """Now."""
    end: int
    """The end of the log."""


class LogTimes:
    """The times of one log, as they were when they were read."""

    def __init__(self, data: bytes, bounds: Bounds) -> None:
        numbers = array("q", data[: len(data) // RECORD_BYTES * RECORD_BYTES])
        if sys.byteorder == "big":
            numbers.byteswap()
        self._at = numbers[::2]
        self._offsets = numbers[1::2]
        self._bounds = bounds

    @classmethod
    def read(cls, run: int, bounds: Bounds) -> "LogTimes":
        """Read the file, which may not exist. `run` is the run folder's descriptor."""
        try:
            return cls(untrusted.read_regular(run, NAME, 0, RECORD_BYTES * MAX_RECORDS), bounds)
        except OSError:
            return cls(b"", bounds)

    def between(self, first: int, end: int, most: int) -> list[LogTime]:
        """Return the times of the bytes from `first` to before `end`, in ascending order. The
        first record is the one that `first` falls under. More than `most` are thinned evenly."""
        low = max(0, bisect_right(self._offsets, first) - 1)
        count = bisect_right(self._offsets, end - 1) - low
        chosen = list(range(low, low + max(0, count)))
        if count > most:
            chosen = [low + index * (count - 1) // max(1, most - 1) for index in range(most)]
        times: list[LogTime] = []
        at, offset = self._bounds.earliest, -1
        for index in chosen:
            record = LogTime(self._at[index], self._offsets[index])
            if at <= record.at <= self._bounds.latest and offset < record.offset < end:
                times.append(record)
                at, offset = record
        return times

    def offset_at(self, since: int) -> int:
        """Return the first byte that was written at `since` or later. It may be too low by what
        was written within the second before, and is 0 if no record is that old."""
        after = bisect_right(self._at, since)
        offset = self._offsets[after - 1] if after else 0
        return min(max(0, offset), self._bounds.end)
