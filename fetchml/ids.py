"""Task ids: UUIDv7 (RFC 9562), strictly increasing within a server."""

import os


class IdSequence:
    """`next(ms)` for times that never go back. The 12 bits after the time count within one
    millisecond (RFC 9562, 6.2, method 1); when they run out, the time in the id runs ahead."""

    def __init__(self, after_ms: int = 0) -> None:
        """Ids sort after all that an earlier sequence gave for times up to `after_ms`."""
        self._ms = after_ms
        self._count = (1 << 12) - 1
        self._random = b""

    def next(self, ms: int) -> str:
        if ms > self._ms:
            self._ms, self._count = ms, 0
        else:
            self._count += 1
            if self._count == 1 << 12:
                self._ms, self._count = self._ms + 1, 0
        if not self._random:
            self._random = os.urandom(8 * 256)
        tail = int.from_bytes(self._random[:8]) & ((1 << 62) - 1)
        self._random = self._random[8:]
        value = self._ms << 80 | 0x7 << 76 | self._count << 64 | 0b10 << 62 | tail
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
