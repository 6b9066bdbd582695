"""Limits of a request for a list, and the values of its status filter (readings 1 and 15)."""

from fetchml.core.model import Status

MAX_LIMIT = 1000
DEFAULT_LIMIT = 50
MAX_OFFSET = 2**63 - 1
STATUS_FILTER = (Status.QUEUED, Status.RUNNING, Status.COMPLETED, Status.FAILED)
"""The values of the contract's `status`. gRPC's `states` takes every state."""


def range_fault(name: str, value: int, least: int = 0, most: int = MAX_LIMIT) -> str | None:
    """The fault of a number in a list request; `None` if it is valid."""
    return None if least <= value <= most else f"{name}: must be between {least} and {most}"


def page_fault(limit: int, offset: int, *, least: int = 0, most: int = MAX_LIMIT) -> str | None:
    """The first fault of a page; `None` if it is valid. `least`, `most`: bounds of `limit`."""
    return range_fault("limit", limit, least, most) or range_fault(
        "offset", offset, most=MAX_OFFSET
    )
