"""A task's log as the shim stores it: the newest few files `log.<start offset>`.

The task can replace them, so they are read as carefully as the rest (see attempt_folder.py).
"""

import os
import re
import stat
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
    found = []
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
                found.append(_Segment(start, start + min(status.st_size, _MAX_OFFSET)))
    return sorted(found)


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
