"""Task ids: UUIDv7 (RFC 9562), strictly increasing within a server."""

import os

_VARIANTS = "89ab"
"""The first digit of the fourth group: the bits 10, and two random ones."""


class IdSequence:
    """`next(ms)` for times that never go back. The 12 bits after the time count within one
    millisecond (RFC 9562, 6.2, method 1); when they run out, the time in the id runs ahead."""

    def __init__(self, after_ms: int = 0) -> None:
        """Ids sort after all that an earlier sequence gave for times up to `after_ms`."""
        self._ms = after_ms
        self._count = (1 << 12) - 1
        self._prefix = ""
        """The first two groups of an id, which hold the time."""
        self._random = ""
        """Random hexadecimal digits."""
        self._used = 0
        """Number of digits that are in ids already."""

    def next(self, ms: int) -> str:
        self._count += 1
        if ms > self._ms or self._count == 1 << 12:
            self._ms, self._count = max(ms, self._ms + 1), 0
            time = f"{self._ms:012x}"
            self._prefix = f"{time[:8]}-{time[8:]}"
        if self._used == len(self._random):
            self._random, self._used = os.urandom(8 * 256).hex(), 0
        tail = self._random[self._used : self._used + 16]
        self._used += 16
        variant = _VARIANTS[int(tail[0], 16) & 3]
        return f"{self._prefix}-7{self._count:03x}-{variant}{tail[1:4]}-{tail[4:]}"
