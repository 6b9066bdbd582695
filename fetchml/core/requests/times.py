"""Times in requests: RFC 3339, as in the contract's replies."""

import re
from datetime import UTC, datetime

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
LATEST_MS = 253_402_300_799_000
"""The last second of the year 9999."""
RULE = "must be a time such as 2026-01-31T12:00:00Z"


def milliseconds(text: str) -> int | None:
    """Convert a time to milliseconds since the epoch (UTC); `None` if it is malformed."""
    if not _TIME.fullmatch(text):
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None


def time_fault(value: object) -> str | None:
    """The rule for a field of a request."""
    if not isinstance(value, str):
        return "must be a string"
    ms = milliseconds(value)
    return None if ms is not None and 0 <= ms <= LATEST_MS else RULE


def shown_time(ms: int) -> str:
    """Return a time in words, in whole seconds: not before it."""
    return datetime.fromtimestamp(-(-ms // 1000), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
