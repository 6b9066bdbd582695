"""Idempotency keys of requests."""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from fetchml.core.requests import submission
from fetchml.errors import MAX_VIOLATIONS, FieldViolation, ValidationFailed
from fetchml.system.pacing import Pace

KEY_OF_ANOTHER = "was used with another request: take a new key"


def digest(request: Mapping[str, object]) -> str:
    return hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest()


async def check_keys(keys: Sequence[str | None]) -> None:
    """Raises ValidationFailed."""
    first = dict[str, int]()
    violations: list[FieldViolation] = []
    pace = Pace()
    for index, key in enumerate(keys):
        if key is None:
            continue
        if pace.due:
            await pace.rest()
        fault = submission.idempotency_key_fault(key)
        if key in first:
            fault = f"is that of tasks[{first[key]}] too: each needs its own"
        first.setdefault(key, index)
        if len(violations) == MAX_VIOLATIONS:
            break
        if fault:
            violations.append(FieldViolation(f"tasks[{index}].idempotency_key", fault))
    if violations:
        raise ValidationFailed(violations)
