"""Validate idempotency keys."""

from collections.abc import Sequence

from fetchml.core import idempotency
from fetchml.errors import MAX_VIOLATIONS, BadRequest, FieldViolation, ValidationFailed
from fetchml.system.pacing import Pace


def check_key(key: str | None) -> None:
    """Raises BadRequest."""
    if key is not None and (fault := idempotency.key_fault(key)):
        raise BadRequest(f"Idempotency-Key: {fault}")


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
        fault = idempotency.key_fault(key)
        if key in first:
            fault = f"is that of tasks[{first[key]}] too: each needs its own"
        first.setdefault(key, index)
        if len(violations) == MAX_VIOLATIONS:
            break
        if fault:
            violations.append(FieldViolation(f"tasks[{index}].idempotency_key", fault))
    if violations:
        raise ValidationFailed(violations)
