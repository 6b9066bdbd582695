"""The engine's clock: wall time that never goes back."""

import time

LONGEST_STAND_MS = 5 * 60_000


class Clock:
    """Milliseconds since the epoch. When the machine's clock is set back, time stands still until
    it has caught up: no task is created before an older one, none ends before it started. But not
    for longer than `LONGEST_STAND_MS`: it may have been set years ahead by mistake."""

    def __init__(self, not_before: int = 0) -> None:
        self._last = not_before

    def __call__(self) -> int:
        now = time.time_ns() // 1_000_000
        if now > self._last or now < self._last - LONGEST_STAND_MS:
            self._last = now
        return self._last
