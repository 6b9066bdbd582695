"""Counts the tasks that ended today (reading 16)."""

from collections.abc import Sequence
from datetime import datetime, tzinfo

from fetchml.core.model import ENDED, Change, Status

_LAST_DAY_MS = 253_402_128_000_000
"""Two days before the end of the year 9999, the last year of Python's dates: up to here a moment is
within that year in every time zone."""


def day_of(ms: int, zone: tzinfo) -> str:
    """The day (YYYY-MM-DD) of a moment in milliseconds since the epoch (UTC)."""
    return datetime.fromtimestamp(min(ms, _LAST_DAY_MS) / 1000, zone).date().isoformat()


class DailyCounts:
    """Starts with the counts of `day` from the store and adds every later change."""

    def __init__(self, zone: tzinfo, day: str, completed: int, failed: int) -> None:
        self._zone = zone
        self._day = day
        self._counts = {Status.COMPLETED: completed, Status.FAILED: failed}

    def committed(self, changes: Sequence[Change]) -> None:
        """Count the tasks that ended with these changes."""
        for change in changes:
            task = change.task
            if task.status not in ENDED or task.hidden or task.service or change.is_after_end:
                continue
            if task.ended_at is not None:
                self._start_day(day_of(change.at, self._zone))
                if day_of(task.ended_at, self._zone) == self._day:
                    self._counts[task.status] += 1

    def today(self, now: int) -> tuple[int, int]:
        """Return the tasks that ended today, as (completed, failed)."""
        self._start_day(day_of(now, self._zone))
        return self._counts[Status.COMPLETED], self._counts[Status.FAILED]

    def _start_day(self, day: str) -> None:
        if day != self._day:
            self._day = day
            self._counts = {Status.COMPLETED: 0, Status.FAILED: 0}
