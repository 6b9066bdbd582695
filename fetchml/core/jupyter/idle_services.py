"""When an idle Jupyter service is warned and stopped."""

from typing import NamedTuple

WARNING_MS = 10 * 60_000
"""Length of the warning before an idle service ends, at most a quarter of the idle time allowed."""
LOOK_MS = 30_000
"""Longest pause between two looks at a service's activity."""
SHORTEST_LOOK_MS = 100


def idle_words(idle_ms: int) -> str:
    """The reason why the server stops a service that was idle for so long."""
    seconds = idle_ms // 1000
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"idle for {seconds // size} {unit}"
    return f"idle for {seconds} s"


class Idle(NamedTuple):
    """The consequence of a service's inactivity."""

    stops_at: int | None = None
    """When the idle service will be stopped; `None` if it is in use."""
    warned_at: int | None = None
    """When the warning began; `None` if there is none."""
    now: bool = False
    """Whether it is to be stopped now."""


def idle(now: int, last_activity: int, idle_ms: int, before: Idle) -> Idle:
    """Decide whether a service is idle.

    `idle_ms`: the idle time allowed; 0 for no limit. `before`: the result of the last look.

    A service is never stopped without a warning of full length, however long ago the last look was.
    """
    warning = min(WARNING_MS, idle_ms // 4)
    ends = last_activity + idle_ms
    if not idle_ms or now < ends - warning:
        return Idle()
    warned_at = before.warned_at if before.warned_at is not None else now
    stops_at = max(ends, warned_at + warning)
    return Idle(stops_at, warned_at, now=now >= stops_at)


def next_look_ms(now: int, idle_ms: int, found: Idle) -> int:
    """The pause in milliseconds before the next look at a service's activity."""
    pause = min(LOOK_MS, idle_ms // 10) if idle_ms else LOOK_MS
    if found.stops_at is not None and found.stops_at > now:
        pause = min(pause, found.stops_at - now)
    return max(pause, SHORTEST_LOOK_MS)
