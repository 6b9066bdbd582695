"""The W3C trace id of a request, by which its reply, its log lines and its errors are found."""

import os
import re

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-.+")


def new_trace(traceparent: str | None) -> str:
    """The trace id of a valid `traceparent` header, else a random one, in UUID form."""
    sent = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    # Every request passes here: this takes a third of the time of uuid4.
    digits = sent[1] if sent else os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
