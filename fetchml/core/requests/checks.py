"""Validation of requests. A request is a parsed JSON object; its rules are the annotations of a
msgspec Struct.

Constraints are those of `msgspec.Meta`. What Meta can't express is a function that returns the
fault of a value, or `None`: `Meta(extra=also(function))`. `read` converts a request to its Struct
and reports every field that breaks a rule. Every text without a pattern is valid Unicode without
NUL. Times are RFC 3339, as in the contract's replies.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import cache, cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, UnsetType

from fetchml.core.requests.text import is_valid, line_fault

MAX_INT = 2**31 - 1
MAX_ITEMS = 1000
"""Items of a list."""
MAX_ENTRIES = 4096
"""Properties of an object, ignored ones included."""
NULL = "must not be null: leave it out"

Check = Callable[[Any], str | None]
S = TypeVar("S", bound=msgspec.Struct)


class Violation(NamedTuple):
    field: str
    rule: str


def also(check: Check) -> dict[str, object]:
    """A rule for `Meta(extra=…)`, applied to values that keep the constraints."""
    return {"check": check}


def described(rule: str) -> dict[str, object]:
    """The description, for `Meta(extra=…)`, of a pattern or of what a value may be."""
    return {"rule": rule}


def line(value: str) -> str | None:
    """The rule for names and ids, which appear in lists and logs."""
    return text_fault(value) or line_fault(value)


def text_fault(value: str) -> str | None:
    if "\0" in value:
        return "must not hold a NUL character"
    return None if is_valid(value) else "must be valid Unicode, without lone surrogates"


def no_duplicates(what: str) -> dict[str, object]:
    """A rule for a list of texts."""

    def check(items: Sequence[object]) -> str | None:
        return f"must not name {what} twice" if len(set(items)) < len(items) else None

    return also(check)


Amount = Annotated[int, Meta(ge=0, le=MAX_INT)]
Id = Annotated[str, Meta(min_length=1, max_length=256, extra=also(line))]
UserName = Annotated[
    str,
    Meta(
        max_length=64, pattern=r"\A[A-Za-z0-9._@-]+\Z", extra=described("must be the name of a key")
    ),
]


class Rule:
    """The rule of a field, by its annotation."""

    def __init__(self, annotation: Any) -> None:
        self._meta = Meta()
        self._check: Check | None = None
        self._words = ""
        self._members: list[Rule] = []
        """Of a union, one for each type."""
        self.may_be_null = False
        kind = annotation
        while (origin := get_origin(kind)) in (Annotated, Union, UnionType):
            if origin is Annotated:
                kind, self._meta = get_args(kind)
                extra = self._meta.extra or {}
                self._check, self._words = extra.get("check"), extra.get("rule", "")
                continue
            parts = [each for each in get_args(kind) if each not in (NoneType, UnsetType)]
            self.may_be_null = NoneType in get_args(kind)
            if len(parts) > 1:
                self._members = [Rule(each) for each in parts]
                break
            kind = parts[0]
        self.kind: Any = get_origin(kind) or kind
        args = get_args(kind)
        self._items = Rule(args[0]) if self.kind in (list, tuple, dict) else None
        self._values = Rule(args[1]) if self.kind is dict else None
        self._pattern = re.compile(self._meta.pattern) if self._meta.pattern else None
        if self._check is None and self.kind is str and self._pattern is None:
            self._check = text_fault

    @cached_property
    def converted_fault(self) -> Check | None:
        """The check of a value that msgspec converts without a fault; `None` if there is none."""
        if self.is_struct:
            rules = rules_of(self.kind).values()
            plain = self._check is None and not any(
                each.may_be_null or each.converted_fault for each in rules
            )
            return None if plain else self.fault
        if self._members:
            return self.fault
        if self.kind is dict:
            return self._of_entries()
        return self._check if self._items is None else self._of_items()

    def _of_items(self) -> Check | None:
        own = self._check
        item = None if self._items is None else self._items.converted_fault
        if item is None:
            return own

        def check(values: Sequence[object]) -> str | None:
            for index, each in enumerate(values):
                if (wrong := item(each)) is not None:
                    return f"item {index} {wrong}"
            return None if own is None else own(values)

        return check

    def _of_entries(self) -> Check | None:
        own = self._check
        key = None if self._items is None else self._items.converted_fault
        value = None if self._values is None else self._values.converted_fault
        if key is None or value is None:
            return self.fault

        def check(entries: Mapping[str, object]) -> str | None:
            for name, entry in entries.items():
                if (wrong := key(name)) is not None:
                    return f"key {name[:80]!r} {wrong}"
                if (wrong := value(entry)) is not None:
                    return f"{name[:80]} {wrong}"
            return None if own is None else own(entries)

        return check

    @property
    def is_struct(self) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, msgspec.Struct)

    def fault(self, value: object) -> str | None:
        """Return the fault of a value in a request; `None` if it is valid."""
        if self.kind is Any:
            return None
        if value is None:
            return NULL
        wrong = self._shape_fault(value)
        return wrong if wrong is not None or self._check is None else self._check(value)

    def _shape_fault(self, value: object) -> str | None:
        if self._members:
            return self._union_fault(value)
        kind = self.kind
        if kind is str:
            return self._text_fault(value)
        if kind is int:
            return self._number_fault(value)
        if kind is bool:
            return None if isinstance(value, bool) else "must be true or false"
        if kind in (list, tuple):
            return self._list_fault(value)
        if kind is dict:
            return self._entries_fault(value)
        if issubclass(kind, Enum):
            valid = isinstance(value, str) and value in list(kind)
            return None if valid else f"must be one of {', '.join(kind)}"
        return self._struct_fault(value)

    def _union_fault(self, value: object) -> str | None:
        for each in self._members:
            if isinstance(value, dict if each.is_struct else each.kind):
                return each.fault(value)
        return self._words

    def _text_fault(self, value: object) -> str | None:
        if not isinstance(value, str):
            return "must be a string"
        if not value and self._meta.min_length:
            return "must not be empty"
        most = self._meta.max_length
        if most is not None and len(value) > most:
            return f"must not be longer than {most} characters"
        if self._pattern is None or self._pattern.search(value):
            return None
        return text_fault(value) or self._words

    def _number_fault(self, value: object) -> str | None:
        if type(value) is not int:
            return "must be an integer"
        low, high = self._meta.ge, self._meta.le
        if low is None or high is None or low <= value <= high:
            return None
        return f"must be between {low} and {high}"

    def _list_fault(self, value: object) -> str | None:
        assert self._items is not None  # noqa: S101 - a list has them
        if not isinstance(value, list | tuple):
            return "must be a list"
        if len(value) < (self._meta.min_length or 0):
            return "must not be empty"
        most = self._meta.max_length or MAX_ITEMS
        if len(value) > most:
            return f"must not have more than {most} items"
        for index, entry in enumerate(value):
            if (wrong := self._items.fault(entry)) is not None:
                return f"item {index} {wrong}"
        return None

    def _entries_fault(self, value: object) -> str | None:
        assert self._items is not None  # noqa: S101 - a dict has them
        assert self._values is not None  # noqa: S101
        if not isinstance(value, dict):
            return "must be an object of strings" if self._values.kind is str else _NO_OBJECT
        most = self._meta.max_length or MAX_ITEMS
        if len(value) > most:
            return f"must not have more than {most} entries"
        for name, entry in value.items():
            if (wrong := self._items.fault(name)) is not None:
                return f"key {name[:80]!r} {wrong}"
            if (wrong := self._values.fault(entry)) is not None:
                return f"{name[:80]} {wrong}"
        return None

    def _struct_fault(self, value: object) -> str | None:
        if not isinstance(value, dict):
            return self._words or _NO_OBJECT
        if len(value) > MAX_ENTRIES:
            return f"must not have more than {MAX_ENTRIES} properties"
        rules = rules_of(self.kind)
        for name in required_of(self.kind):
            if name not in value:
                return f"must have a {name}"
        for name, entry in value.items():
            if (rule := rules.get(name)) is None:
                if self.kind.__struct_config__.forbid_unknown_fields:
                    return f"must not have {str(name)[:80]!r}"
            elif (wrong := rule.fault(entry)) is not None:
                return f"{name} {wrong}"
        return None


_NO_OBJECT = "must be an object"


@cache
def rules_of(kind: type[msgspec.Struct]) -> dict[str, Rule]:
    """Return the rules of a request's fields, by their names on the wire."""
    return {each.encode_name: Rule(each.type) for each in msgspec.structs.fields(kind)}


@cache
def required_of(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(each.encode_name for each in msgspec.structs.fields(kind) if each.required)


@cache
def _checks_of(kind: type[msgspec.Struct]) -> dict[str, Check | None]:
    """Return the checks of fields that msgspec has converted."""
    return {name: rule.converted_fault for name, rule in rules_of(kind).items()}


def read(request: Mapping[str, object], kind: type[S]) -> tuple[S | None, list[Violation]]:
    """Convert a request. Return it, or the violations of all its fields. Fields without a rule are
    ignored (reading 12)."""
    if len(request) > MAX_ENTRIES:
        rule = f"must not have more than {MAX_ENTRIES} properties"
        return None, [Violation("body", rule)]
    try:
        value = msgspec.convert(request, kind)
    except ValueError:  # Also for a text that is not valid Unicode.
        return None, _violations(request, kind)
    checks = _checks_of(kind)
    wrong: list[Violation] = []
    for name, given in request.items():
        if given is None:
            if name in checks:
                wrong.append(Violation(name, NULL))
        elif (check := checks.get(name)) is not None and (fault := check(given)) is not None:
            wrong.append(Violation(name, fault))
    return (None if wrong else value), wrong


def _violations(request: Mapping[str, object], kind: type[msgspec.Struct]) -> list[Violation]:
    """Return the violations of a request that msgspec can't convert."""
    rules = rules_of(kind)
    wrong = [Violation(name, "is required") for name in required_of(kind) if name not in request]
    for name, given in request.items():
        if name in rules:
            fault = NULL if given is None else rules[name].fault(given)
            if fault is not None:
                wrong.append(Violation(name, fault))
    return wrong or [Violation("body", "must be valid Unicode, without lone surrogates")]


def unknown_fields(request: Mapping[str, object], known: frozenset[str]) -> list[str]:
    """Return the request's properties that have no meaning (reading 12)."""
    return [] if known.issuperset(request) else [name for name in request if name not in known]


def labels(limit: int) -> dict[str, object]:
    """A rule for an object of strings: `limit` characters in all."""

    def check(entries: Mapping[str, str]) -> str | None:
        size = sum(len(name) + len(entry) for name, entry in entries.items())
        return None if size <= limit else f"must not exceed {limit} characters in all"

    return also(check)


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


def time_fault(text: str) -> str | None:
    ms = milliseconds(text)
    return None if ms is not None and 0 <= ms <= LATEST_MS else TIME_RULE


Time = Annotated[str, Meta(extra=also(time_fault))]


def shown_time(ms: int) -> str:
    """Return a time in words, in whole seconds: not before it."""
    return datetime.fromtimestamp(-(-ms // 1000), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
