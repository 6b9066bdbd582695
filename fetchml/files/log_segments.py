"""A task's output as the shim keeps it: files `log.<start offset>`, the newest few.

Written by an untrusted task's shim, so read with the same care as the rest (see attempt.py).
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
"""A run folder holds about ten; a task that fills it with millions must not stop the server."""
_ROTATED_MEANWHILE = 3
"""How often to look again when a segment went between the listing and the reading."""


class _Segment(NamedTuple):
    start: int
    end: int


def bounds(run: int) -> tuple[int, int]:
    """Offsets of the first byte kept and of the end. `run`: a descriptor of the run folder."""
    segments = _segments(run)
    return (segments[0].start, segments[-1].end) if segments else (0, 0)


def read(run: int, offset: int, limit: int) -> tuple[int, bytes]:
    """At most `limit` bytes from `offset`, or from the first kept after it, and where from."""
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
