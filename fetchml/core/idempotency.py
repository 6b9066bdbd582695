"""Idempotency keys: a create that is repeated with its key returns what the first one made.

A key counts for its user, and for a day. The engine looks it up among tasks, or among sweeps.
"""

import hashlib
import re
from collections.abc import Mapping

import msgspec

from fetchml.core.model import Idempotency

KEPT_MS = 24 * 3600 * 1000
"""Time after which a key counts as new again."""
_KEY = re.compile(r"[!-~]{1,255}")


def key_fault(key: str) -> str | None:
    """Return the fault of a key; `None` if it is valid."""
    if _KEY.fullmatch(key):
        return None
    return "must be one key of 1 to 255 visible ASCII characters"


def of_request(key: str, request: Mapping[str, object]) -> Idempotency:
    digest = hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest()
    return Idempotency(key, digest)


def fault(digest: str, again: Idempotency) -> str | None:
    """Return why a key can't be used again; `None` if it comes with the same request. `digest`: of
    the request that used it first."""
    if again.digest == digest:
        return None
    return "was used with another request: take a new key"
