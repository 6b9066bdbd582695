"""Task ids: UUIDv7 (RFC 9562), strictly increasing within a server."""

import os
import struct

_AT_ONCE = struct.Struct("256Q")
"""Random numbers that one system call brings."""
_VARIANT = 0b10 << 62
_RANDOM = (1 << 62) - 1
"""Bits of the last two groups: the variant, and random ones."""


class IdSequence:
    """`next(ms)` for times that never go back. The 12 bits after the time count within one
    millisecond (RFC 9562, 6.2, method 1); when they run out, the time in the id runs ahead."""

    def __init__(self, after_ms: int = 0) -> None:
        """Ids sort after all that an earlier sequence gave for times up to `after_ms`."""
        self._ms = after_ms
        self._count = (1 << 12) - 1
        self._prefix = ""
        """The first two groups of an id, which hold the time."""
        self._random: list[int] = []
        """Random numbers of 64 bits."""

    def next(self, ms: int) -> str:
        self._count += 1
        if ms > self._ms or self._count == 1 << 12:
            self._ms, self._count = max(ms, self._ms + 1), 0
            time = f"{self._ms:012x}"
            self._prefix = f"{time[:8]}-{time[8:]}"
        if not self._random:
            self._random = list(_AT_ONCE.unpack(os.urandom(_AT_ONCE.size)))
        tail = f"{self._random.pop() & _RANDOM | _VARIANT:x}"
        return f"{self._prefix}-7{self._count:03x}-{tail[:4]}-{tail[4:]}"
