"""W3C trace ids, which connect a request with its reply, log lines and errors."""

import re
from uuid import uuid4

from fetchml.system.ids import random_tails

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-.+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_start = str(uuid4())[:18]
_tails = random_tails()


def new_trace(traceparent: str | None, request_id: str | None = None) -> str:
    """Return the request's trace id in UUID form (contract reading 31).

    The id comes from a valid `traceparent` header; otherwise from a UUID in `x-request-id`, which
    Envoy adds to every request; otherwise it is random.
    """
    if traceparent and (sent := _TRACEPARENT.fullmatch(traceparent)):
        digits = sent[1]
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    if request_id and _UUID.fullmatch(request_id):
        return request_id
    return f"{_start}-{next(_tails)}"
