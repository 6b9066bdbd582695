"""Values of sbatch's options: times, and the indexes of job arrays.

An array becomes a sweep: a parameter has the index, and its tasks have the variables of the array.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

PARAMETER = "array_task_id"
"""The sweep's parameter."""
MOST_INDEXES = 10_000
"""As many tasks as a sweep may have."""
_MOST_INDEX = 1 << 31
_PART = re.compile(r"(\d{1,10})(?:-(\d{1,10})(?::(\d{1,10}))?)?", re.ASCII)
_IN_BRACES = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
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


class BadOption(Exception):
    """An invalid value. The message is for users, and does not name the option."""


def seconds(text: str) -> int:
    """Convert a time limit: `30`, `30:00`, `1:00:00`, `1-12`, `1-12:30`, `1-12:30:00`; 0 for none.
    Raises BadOption."""
    if text.upper() in ("INFINITE", "UNLIMITED"):
        return 0
    for pattern, units in _TIMES:
        if match := pattern.fullmatch(text):
            parts = (int((part or "0")[:10]) for part in match.groups())
            total = sum(p * u for p, u in zip(parts, units, strict=True))
            if total >= MOST_SECONDS:
                raise BadOption(f"{total} is too large")
            return total
    raise BadOption(f"{text!r} is not a time such as 90, 30:00, 12:00:00 or 2-00:00:00")


def begins_at(text: str, now: datetime) -> datetime:
    """Convert the time of `--begin`: `now+2hours`, `16:00`, `noon`, `tomorrow`,
    `2026-12-01T20:00`. Without a zone it is that of `now`. A time of day that has passed is
    tomorrow's. Raises BadOption."""
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
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        raise BadOption(
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


@dataclass(frozen=True)
class Array:
    indexes: tuple[int, ...]
    """In ascending order, each once."""
    max_parallel: int | None = None
    """`None` if all may run at the same time."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Return the variables that Slurm sets for each job of an array. The index of each is the
        parameter's value."""
        return {
            "SLURM_ARRAY_TASK_ID": f"{{{PARAMETER}}}",
            "SLURM_ARRAY_TASK_COUNT": str(len(self.indexes)),
            "SLURM_ARRAY_TASK_MIN": str(self.indexes[0]),
            "SLURM_ARRAY_TASK_MAX": str(self.indexes[-1]),
        }


def array(text: str) -> Array:
    """Convert `0-15`, `1,3,5-7`, `0-20:5`, each with `%4` for the most that run at the same time.
    Raises BadOption."""
    listed, percent, most = text.partition("%")
    if percent and not re.fullmatch(r"[1-9]\d{0,4}", most, re.ASCII):
        raise BadOption(f"{most!r} is not a number of tasks that run at the same time")
    indexes: set[int] = set()
    for part in listed.split(","):
        match = _PART.fullmatch(part)
        first, last, step = (int(each or 0) for each in match.groups()) if match else (1, 0, 0)
        if match and match[2] is None:
            last = first
        if last < first or last >= _MOST_INDEX or (match and match[3] and not step):
            raise BadOption(f"{part!r} is not an index or a range such as 7, 0-15 or 0-20:5")
        part_indexes = range(first, last + 1, step or 1)
        if len(part_indexes) + len(indexes) > MOST_INDEXES:
            raise BadOption(f"it has more than {MOST_INDEXES} indexes")
        indexes.update(part_indexes)
    return Array(tuple(sorted(indexes)), int(most) if percent else None)


def literal(words: Sequence[str]) -> tuple[str, ...]:
    """Return words in which a sweep finds no placeholders: `${HOME}` stays what it is."""
    return tuple(_IN_BRACES.sub(r"{{\1}}", word) for word in words)
