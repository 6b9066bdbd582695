"""Times in requests: RFC 3339, as in the contract's replies."""

import re
from datetime import datetime

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
RULE = "must be a time such as 2026-01-31T12:00:00Z"


def milliseconds(text: str) -> int | None:
    """Convert a time to milliseconds since the epoch (UTC); `None` if it is malformed."""
    if not _TIME.fullmatch(text):
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None
