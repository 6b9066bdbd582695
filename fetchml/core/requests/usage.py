"""Rules of requests for the history of use: a period, and a number of points."""

from fetchml.core.model import Value
from fetchml.core.usage import HOUR_MS, SAMPLE_MS

MAX_POINTS = 2_000
DEFAULT_POINTS = 300
MAX_POINTS_IN_ALL = 20_000
"""Of all GPUs in one reply."""
MAX_HOLDS = 1_000
"""Times in which tasks held a GPU, in one reply: the latest."""
MAX_DAYS = 400
DEFAULT_DAYS = 30
MAX_ROWS = 10_000
"""Rows of users and days in one reply."""
DAY_MS = 24 * HOUR_MS
_LAST_MS = 253_402_128_000_000
"""Two days before the end of the year 9999, in every time zone."""


class Period(Value, frozen=True):
    """The time that a request is about, in milliseconds since the epoch (UTC)."""

    since: int
    until: int
    points: int = DEFAULT_POINTS


def history_fault(since: int | None, until: int | None, points: int | None) -> str | None:
    """Return the fault of a request for points; `None` if it is valid."""
    if points is not None and not 1 <= points <= MAX_POINTS:
        return f"points: must be between 1 and {MAX_POINTS}"
    return _order_fault(since, until)


def days_fault(since: int | None, until: int | None, now: int) -> str | None:
    """Return the fault of a request for days; `None` if it is valid."""
    if fault := _order_fault(since, until):
        return fault
    period = of_days(since, until, now)
    if period.until - period.since > MAX_DAYS * DAY_MS:
        return f"since: must be at most {MAX_DAYS} days before until"
    return None


def of_task(since: int | None, until: int | None, points: int | None, now: int) -> Period:
    """Return the period of a valid request; by default all that there is."""
    end = now + SAMPLE_MS
    return Period(
        0 if since is None else since,
        end if until is None else min(until, end),
        points or DEFAULT_POINTS,
    )


def of_gpus(since: int | None, until: int | None, points: int | None, now: int) -> Period:
    """Return the period of a valid request; by default the last hour."""
    end = now if until is None else min(until, now)
    return Period(end - HOUR_MS if since is None else since, end, points or DEFAULT_POINTS)


def of_days(since: int | None, until: int | None, now: int) -> Period:
    """Return the period of a valid request; by default the last 30 days."""
    end = now if until is None else min(until, now)
    begin = end - (DEFAULT_DAYS - 1) * DAY_MS if since is None else since
    return Period(max(0, begin), max(0, end))


def _order_fault(since: int | None, until: int | None) -> str | None:
    for name, value in (("since", since), ("until", until)):
        if value is not None and not 0 <= value <= _LAST_MS:
            return f"{name}: must be between the years 1970 and 9999"
    if since is not None and until is not None and since >= until:
        return "since: must be before until"
    return None
