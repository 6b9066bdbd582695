"""What the readers of a task's files return. Nothing in the files is trusted."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from fetchml.core.tracking import MAX_TIME, Point

EARLIEST_SECONDS = 1e9
"""A smaller number, or one whose milliseconds are above MAX_TIME, is no time since the epoch."""


class Reading(msgspec.Struct, frozen=True):
    """Points in the next bytes of a file."""

    points: Sequence[Point]
    used: int
    """Bytes that need not be read again; more than there were if the next ones are of no
    interest."""
    fault: str | None = None
    """Why the rest of the file cannot be read; `None` if it can."""


def milliseconds(value: object) -> int | None:
    """Return a time in seconds since the epoch, or in ISO 8601, as milliseconds since the epoch.
    `None` if it is none."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
            value = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not EARLIEST_SECONDS <= value <= MAX_TIME / 1000:
        return None
    return int(value * 1000)
