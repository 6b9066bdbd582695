"""Task ids: UUIDv7 (RFC 9562), strictly increasing within a server."""

import os
from collections.abc import Iterator

_AT_ONCE = 256
"""Ids whose random digits are made together: one system call, and much less to format."""
_VARIANT = int.from_bytes((0b10 << 62).to_bytes(8) * _AT_ONCE)
_RANDOM = int.from_bytes(((1 << 62) - 1).to_bytes(8) * _AT_ONCE)
"""Bits of the last two groups of all these ids: the variant, and random ones."""


class IdSequence:
    """`next(ms)` for times that never go back. The 12 bits after the time count within one
    millisecond (RFC 9562, 6.2, method 1); when they run out, the time in the id runs ahead."""

    def __init__(self, after_ms: int = 0) -> None:
        """Ids sort after all that an earlier sequence gave for times up to `after_ms`."""
        self._ms = after_ms
        self._count = (1 << 12) - 1
        self._prefix = ""
        """The first two groups of an id, which hold the time."""
        self._tails = random_tails()

    def next(self, ms: int) -> str:
        self._count += 1
        if ms > self._ms or self._count == 1 << 12:
            self._ms, self._count = max(ms, self._ms + 1), 0
            time = f"{self._ms:012x}"
            self._prefix = f"{time[:8]}-{time[8:]}"
        return f"{self._prefix}-{0x7000 + self._count:x}-{next(self._tails)}"


def random_tails() -> Iterator[str]:
    """Yield the last two groups of random UUIDs, without end."""
    while True:
        bits = int.from_bytes(os.urandom(8 * _AT_ONCE)) & _RANDOM | _VARIANT
        digits = bits.to_bytes(8 * _AT_ONCE).hex()
        for at in range(0, len(digits), 16):
            yield f"{digits[at : at + 4]}-{digits[at + 4 : at + 16]}"
