"""The W3C trace id of a request, by which its reply, its log lines and its errors are found."""

import re
import uuid

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-.+")


def new_trace(traceparent: str | None) -> str:
    """The trace id of a valid `traceparent` header, else a random one, in UUID form."""
    sent = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return str(uuid.UUID(sent[1]) if sent else uuid.uuid4())
