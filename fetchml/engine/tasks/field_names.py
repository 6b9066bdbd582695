"""Names of request fields in the errors of submissions."""

from collections.abc import Callable
from typing import NamedTuple


class FieldNames(NamedTuple):
    """Names in errors of the fields of the request with this index."""

    field: Callable[[int, str], str]
    key: Callable[[int], str]
    """The idempotency key's field."""


OF_THE_ONLY = FieldNames(lambda _, field: field, lambda _: "Idempotency-Key")
OF_MANY = FieldNames(
    lambda index, field: f"tasks[{index}].{field}", lambda index: f"tasks[{index}].idempotency_key"
)
