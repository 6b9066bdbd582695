"""W3C trace ids, which connect a request with its reply, log lines and errors."""

import re
from random import Random

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-.+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_random = Random()  # noqa: S311 - an identifier, not a secret
"""Preferred to `os.urandom`, whose system call for every request would yield to other threads."""


def new_trace(traceparent: str | None, request_id: str | None = None) -> str:
    """Return the request's trace id in UUID form (contract reading 31).

    The id comes from a valid `traceparent` header; otherwise from a UUID in `x-request-id`, which
    Envoy adds to every request; otherwise it is random.
    """
    sent = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if sent:
        digits = sent[1]
    elif request_id and _UUID.fullmatch(request_id):
        return request_id
    else:
        digits = f"{_random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
