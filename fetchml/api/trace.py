"""The W3C trace id of a request, by which its reply, its log lines and its errors are found."""

import re
from random import Random

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-.+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_random = Random()  # noqa: S311 - a name, not a secret
"""Not os.urandom: every request passes here, and a system call lets other threads go first."""


def new_trace(traceparent: str | None, request_id: str | None = None) -> str:
    """In UUID form: of a valid `traceparent` header, else the UUID in `x-request-id` that a proxy
    gave the request (Envoy gives every one), else random."""
    sent = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if sent:
        digits = sent[1]
    elif request_id and _UUID.fullmatch(request_id):
        return request_id
    else:
        digits = f"{_random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
