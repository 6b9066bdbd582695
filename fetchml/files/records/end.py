"""The shim's record of an end, and the numbers of all its records (shim/README.md)."""

import re

from fetchml.core.model import AttemptEnd
from fetchml.core.scheduling.lost_attempts import LEASE_LOST

LAST_MS = 253_402_300_799_999
"""The end of the year 9999: RFC 3339 has no later times."""
_MAX_ERROR = 500


def end_of(record: dict[str, str]) -> AttemptEnd | None:
    """Return the end that the lines of `exit` describe; `None` if they are no record of one."""
    try:
        started = integer(record, "started_ms", 0, LAST_MS, default=0)
        ended = integer(record, "at_ms", 0, LAST_MS)
        code = integer(record, "code", 0, 255) if "code" in record else None
        signal = integer(record, "signal", 1, 64) if "signal" in record else None
        timed_out = bool(integer(record, "timed_out", 0, 1, default=0))
        stopped = bool(integer(record, "stopped", 0, 1, default=0))
        warned = bool(integer(record, "warned", 0, 1, default=0))
        out_of_memory = bool(integer(record, "out_of_memory", 0, 1, default=0))
        lease_lost = bool(integer(record, "lease_lost", 0, 1, default=0))
    except ValueError:
        return None
    if (code is None) == (signal is None):
        return None
    error = "".join(c if c.isprintable() else "?" for c in record.get("error", ""))
    return AttemptEnd(
        at=max(started, ended),
        started_at=started or None,
        code=code,
        signal=signal,
        lost=LEASE_LOST if lease_lost else None,
        timed_out=timed_out,
        stopped=stopped,
        warned=warned,
        out_of_memory=out_of_memory,
        start_error=error[:_MAX_ERROR] or None,
    )


def integer(
    record: dict[str, str], key: str, low: int, high: int, *, default: int | None = None
) -> int:
    """Raises ValueError for what is no number from `low` to `high`."""
    text = record.get(key)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch("[0-9]{1,19}", text) or not low <= int(text) <= high:
        raise ValueError(key)
    return int(text)
