"""Validation of requests: tables with a rule for each field, and the rules that they are made of.

A request is a parsed JSON object. A rule returns the fault of a value, or `None`. Times are RFC
3339, as in the contract's replies.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from fetchml.core.requests.text import is_valid, line_fault

MAX_INT = 2**31 - 1
MAX_ITEMS = 1000
"""Items of a list."""
MAX_ENTRIES = 4096
"""Properties of an object, ignored ones included."""
NULL = "must not be null: leave it out"

Check = Callable[[object], str | None]


class Violation(NamedTuple):
    field: str
    rule: str


def check_fields(
    request: Mapping[str, object], rules: Mapping[str, Check], *, required: Iterable[str]
) -> tuple[dict[str, object], list[Violation]]:
    """Return the valid fields, and the violations of the others.

    Fields without a rule are ignored (reading 12).
    """
    if len(request) > MAX_ENTRIES:
        rule = f"must not have more than {MAX_ENTRIES} properties"
        return {}, [Violation("body", rule)]
    violations: list[Violation] = []
    for name in required:
        if name in request:
            continue
        violations.append(Violation(name, "is required"))
    fields: dict[str, object] = {}
    for name, value in request.items():
        check = rules.get(name)
        if check is None:
            continue
        wrong = NULL if value is None else check(value)
        if wrong is None:
            fields[name] = value
        else:
            violations.append(Violation(name, wrong))
    return fields, violations


def unknown_fields(request: Mapping[str, object], known: frozenset[str]) -> list[str]:
    """Return the request's properties that have no meaning (reading 12)."""
    return [] if known.issuperset(request) else [name for name in request if name not in known]


def integer(low: int, high: int) -> Check:
    def check(value: object) -> str | None:
        if type(value) is not int:
            return "must be an integer"
        return None if low <= value <= high else f"must be between {low} and {high}"

    return check


def boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def text(limit: int, *, empty: bool = True) -> Check:
    def check(value: object) -> str | None:
        if not isinstance(value, str):
            return "must be a string"
        if not value and not empty:
            return "must not be empty"
        if len(value) > limit:
            return f"must not be longer than {limit} characters"
        if "\0" in value:
            return "must not hold a NUL character"
        if value.isascii() or is_valid(value):
            return None
        return "must be valid Unicode, without lone surrogates"

    return check


def line(limit: int, *, empty: bool = True) -> Check:
    """A rule for names and ids, which appear in lists and logs; `text` is the one for content."""
    is_text = text(limit, empty=empty)

    def check(value: object) -> str | None:
        wrong = is_text(value)
        return line_fault(value) if wrong is None and isinstance(value, str) else wrong

    return check


def matching(pattern: re.Pattern[str], limit: int, rule: str) -> Check:
    """`pattern` matches ASCII only, so what matches is valid text."""
    is_text = text(limit)

    def check(value: object) -> str | None:
        if isinstance(value, str) and len(value) <= limit and pattern.fullmatch(value):
            return None
        return is_text(value) or rule

    return check


_image = text(512, empty=False)


def image(value: object) -> str | None:
    wrong = _image(value)
    if wrong is not None:
        return wrong
    readable = isinstance(value, str) and value.isprintable() and " " not in value
    return None if readable else "must be an image name without spaces"


def list_of(item: Check, *, empty: bool = True) -> Check:
    def check(value: object) -> str | None:
        if not isinstance(value, list):
            return "must be a list"
        if not value and not empty:
            return "must not be empty"
        if len(value) > MAX_ITEMS:
            return f"must not have more than {MAX_ITEMS} items"
        for index, entry in enumerate(value):
            wrong = item(entry)
            if wrong is not None:
                return f"item {index} {wrong}"
        return None

    return check


def strings(key: Check, value_limit: int, total_limit: int) -> Check:
    is_text = text(value_limit)

    def check(value: object) -> str | None:
        if not isinstance(value, dict):
            return "must be an object of strings"
        if len(value) > MAX_ITEMS:
            return f"must not have more than {MAX_ITEMS} entries"
        size = 0
        for name, entry in value.items():
            wrong = key(name)
            if wrong is not None:
                return f"key {name[:80]!r} {wrong}"
            wrong = is_text(entry)
            if wrong is not None:
                return f"{name[:80]} {wrong}"
            size += len(name) + len(entry)
        return None if size <= total_limit else f"must not exceed {total_limit} characters in all"

    return check


_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
LATEST_MS = 253_402_300_799_000
"""The last second of the year 9999."""
TIME_RULE = "must be a time such as 2026-01-31T12:00:00Z"


def milliseconds(text: str) -> int | None:
    """Convert a time to milliseconds since the epoch (UTC); `None` if it is malformed."""
    if not _TIME.fullmatch(text):
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None


def time_fault(value: object) -> str | None:
    """The rule for a field of a request."""
    if not isinstance(value, str):
        return "must be a string"
    ms = milliseconds(value)
    return None if ms is not None and 0 <= ms <= LATEST_MS else TIME_RULE


def shown_time(ms: int) -> str:
    """Return a time in words, in whole seconds: not before it."""
    return datetime.fromtimestamp(-(-ms // 1000), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
