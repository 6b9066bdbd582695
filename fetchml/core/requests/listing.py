"""Rules of a request for a list: its page, and its filters (readings 1 and 15)."""

import re
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from msgspec import Meta

from fetchml.core.model import Status
from fetchml.core.requests.checks import Rule, Violation
from fetchml.core.requests.text import is_valid

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


MAX_TEXT = 256
MAX_LABELS = 16
MAX_LABEL = 1024
MIN_ID_SUFFIX = 4
LATEST_MS = 253_402_300_800_000
"""The end of the year 9999, in milliseconds since the epoch (UTC)."""

_ID_SUFFIX = re.compile(rf"[0-9a-f-]{{{MIN_ID_SUFFIX},36}}")
_text = Rule(Annotated[str, Meta(max_length=MAX_TEXT)]).fault
_label = Rule(Annotated[str, Meta(min_length=1, max_length=MAX_LABEL)]).fault

Label = tuple[str, str | None]
"""A key of `metadata` and its value; `None` stands for any value."""


class Filters(NamedTuple):
    """The filters of a request. An empty or `None` one does not restrict the list."""

    user: str = ""
    job_name_prefix: str = ""
    experiment_id: str = ""
    text: str = ""
    labels: Sequence[str] = ()
    """Each `key=value`, or `key` for any value."""
    created_after: int | None = None
    """Milliseconds since the epoch (UTC)."""
    created_before: int | None = None
    id_suffix: str = ""
    sweep_id: str = ""
    fold_sweeps: bool = False
    """Of each sweep only its newest task that matches."""
    fold_experiments: bool = False
    """The same of each experiment, whatever the sweep, unless the list is of one."""


def fault(filters: Filters) -> Violation | None:
    """The first fault of the filters; `None` if there is none."""
    for name in ("user", "job_name_prefix", "experiment_id", "sweep_id"):
        if not is_valid(getattr(filters, name)):
            return Violation("user_id" if name == "user" else name, "must be valid Unicode")
    if wrong := _text(filters.text):
        return Violation("text", wrong)
    if len(filters.labels) > MAX_LABELS:
        return Violation("labels", f"must not be more than {MAX_LABELS}")
    for each in filters.labels:
        if wrong := _label(each) or (None if label(each)[0] else "must be key=value or key"):
            return Violation("labels", wrong)
    for name in ("created_after", "created_before"):
        at = getattr(filters, name)
        if at is not None and not 0 <= at < LATEST_MS:
            return Violation(name, "must be a time between the years 1970 and 9999")
    if filters.id_suffix and not _ID_SUFFIX.fullmatch(filters.id_suffix):
        rule = f"must be {MIN_ID_SUFFIX} to 36 of the characters 0-9, a-f and -"
        return Violation("id_suffix", rule)
    return None


def label(text: str) -> Label:
    """Split `key=value`. The first `=` ends the key."""
    key, equals, value = text.partition("=")
    return key, value if equals else None
