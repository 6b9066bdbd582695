"""Times as the options of sbatch have them: limits, and when a job may begin."""

import re
from datetime import UTC, datetime, time, timedelta

MOST_SECONDS = 1 << 31
_TIMES = (
    (re.compile(r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII), (86_400, 3600, 60, 1)),
    (re.compile(r"(\d+):(\d+):(\d+)", re.ASCII), (3600, 60, 1)),
    (re.compile(r"(\d+)(?::(\d+))?", re.ASCII), (60, 1)),
)
_LATER = re.compile(r"now\+(\d{1,9})(s|second|m|minute|h|hour|d|day|w|week)?s?", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NAMED = {
    "midnight": time(0),
    "elevenses": time(11),
    "noon": time(12),
    "fika": time(15),
    "teatime": time(16),
}
_OF_DAY = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?(?: ?([ap])m)?", re.ASCII)


class BadTime(Exception):
    """The message is for users."""


def seconds(text: str) -> int:
    """Convert a time limit: `30`, `30:00`, `1:00:00`, `1-12`, `1-12:30`, `1-12:30:00`; 0 for none.
    Raises BadTime."""
    if text.upper() in ("INFINITE", "UNLIMITED"):
        return 0
    for pattern, units in _TIMES:
        if match := pattern.fullmatch(text):
            parts = (int((part or "0")[:10]) for part in match.groups())
            total = sum(p * u for p, u in zip(parts, units, strict=True))
            if total >= MOST_SECONDS:
                raise BadTime(f"{total} is too large")
            return total
    raise BadTime(f"{text!r} is not a time such as 90, 30:00, 12:00:00 or 2-00:00:00")


def begins_at(text: str, now: datetime) -> datetime:
    """Convert the time of `--begin`: `now+2hours`, `16:00`, `noon`, `tomorrow`,
    `2026-12-01T20:00`. Without a zone it is that of `now`. A time of day that has passed is
    tomorrow's. Raises BadTime."""
    lowered = text.strip().lower()
    if lowered == "now":
        return now
    try:
        if match := _LATER.fullmatch(lowered):
            unit = _UNITS[(match[2] or "s")[0]]
            return now.astimezone(UTC) + timedelta(seconds=int(match[1]) * unit)
        if lowered in ("today", "tomorrow"):
            return now if lowered == "today" else now + timedelta(days=1)
        of_day = _NAMED.get(lowered) or _time_of_day(lowered)
        if of_day is not None:
            today = datetime.combine(now.date(), of_day, now.tzinfo)
            return today if today > now else today + timedelta(days=1)
        found = datetime.fromisoformat(text.strip())
        return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        raise BadTime(
            f"{text!r} is not a time such as now+2hours, 16:00, tomorrow or 2026-12-01T20:00"
        ) from None


def _time_of_day(text: str) -> time | None:
    """Raises ValueError for hours or minutes that do not exist."""
    match = _OF_DAY.fullmatch(text)
    if match is None:
        return None
    hour = int(match[1])
    if match[4]:
        if not 1 <= hour <= 12:
            raise ValueError("no such hour")
        hour = hour % 12 + (12 if match[4] == "p" else 0)
    return time(hour, int(match[2]), int(match[3] or 0))
