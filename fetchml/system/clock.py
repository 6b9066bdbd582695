"""The engine's clock: wall time that never stands still and almost never goes back."""

import time
from collections.abc import Callable

LONGEST_AHEAD_MS = 5 * 60_000
"""Longest lead of this clock before it follows the host's clock back."""
SLOWED_PERCENT = 90
"""Speed of this clock while it is ahead, so that the host's catches up."""

_MS = 1_000_000
"""Nanoseconds of a millisecond."""


class Clock:
    """Milliseconds since the epoch.

    If the host's clock is set back, this clock continues, a little slower, until the host's has
    caught up: no task is created before an older one, none ends before it started, and nothing due
    is delayed. Meanwhile it follows the monotonic clock, which can't be set.

    If the host's clock is more than `LONGEST_AHEAD_MS` behind, it was set ahead by mistake and is
    right now: this clock follows it back, once. The core then moves what is due by as much
    (`ReadyQueue.due`).
    """

    def __init__(
        self,
        not_before: int = 0,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`not_before`: a time in the past, in milliseconds since the epoch."""
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._last_ns = not_before * _MS
        self._asked_at_ns = steady_ns()

    def __call__(self) -> int:
        wall, steady = self._wall_ns(), self._steady_ns()
        passed = steady - self._asked_at_ns
        self._asked_at_ns = steady
        slowed = self._last_ns + passed * SLOWED_PERCENT // 100
        if wall >= slowed or wall < self._last_ns - LONGEST_AHEAD_MS * _MS:
            self._last_ns = wall
        else:
            self._last_ns = slowed
        return self._last_ns // _MS
