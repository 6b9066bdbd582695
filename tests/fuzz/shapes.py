"""Inputs that are well formed as JSON or as messages, with values that nobody expects.

Bytes that are changed at random are seldom read further than their first wrong byte.
"""

import json
from collections.abc import Sequence
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

DEPTH = 3
"""Of messages in messages."""
TEXTS = st.sampled_from(
    [
        "", "a", "p", "{p}", "{{p}}", "{q}", "'", "a 'b' \\", "\0", "a\r\nb", "\u202e", "\x1b[2J",
        "é", "\U0001f600", "x" * 5000, "../a", "/a", "a/b", ".", "http://[::1]:0/", "a=b", "{", "9",
        "https://example.org/a", "https://u:p@example.org", "http://127.0.0.1:99999", "file:///a",
        "0198c0de-0000-7000-8000-000000000001", "2033-01-01T00:00:00Z", "9999-12-31T23:59:59+23:59",
        "completed", "failed", "random", "zip", "env", "file", "FETCHML_A", "priority", "notify",
        "KILL", "xterm",
    ]
)  # fmt: skip
JSON_TEXTS = TEXTS | st.sampled_from(["\ud800", "\udcff", "\udbff\ud800"])
INTEGERS = [0, 1, -1, 2, 24, 10_000, 10_001, 2**31 - 1, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 0.1, 1.0, -1.0, 1e308, 5e-324, float("inf"), float("nan"), 2.0**53 + 2]


# Messages

_FLOATS = (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT)


def messages(kind: type[Message], seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Messages whose fields are set at random, most of them in a seed."""
    made = _message(kind.DESCRIPTOR, DEPTH, (b"", *seeds))
    return made.map(lambda message: bytes(message.SerializeToString()))


@st.composite
def _message(draw: st.DrawFn, descriptor: Any, depth: int, seeds: Sequence[bytes] = (b"",)) -> Any:
    made = message_factory.GetMessageClass(descriptor)()
    made.MergeFromString(draw(st.sampled_from(seeds)))
    names = [each.name for each in descriptor.fields]
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=6)) if names else ():
        _set(draw, made, descriptor.fields_by_name[name], depth)
    return made


def _set(draw: st.DrawFn, made: Any, field: FieldDescriptor, depth: int) -> None:
    kind = field.message_type
    if kind is not None and depth == 0:
        return
    if kind is not None and kind.GetOptions().map_entry:
        value = kind.fields_by_name["value"]
        entries = getattr(made, field.name)
        for key in draw(st.lists(TEXTS, max_size=3)):
            if value.message_type is not None:
                entries[key].CopyFrom(draw(_message(value.message_type, depth - 1)))
            else:
                entries[key] = draw(_scalar(value))
    elif kind is not None and field.is_repeated:
        made_of = st.lists(_message(kind, depth - 1), max_size=3)
        getattr(made, field.name).extend(draw(made_of))
    elif kind is not None:
        getattr(made, field.name).CopyFrom(draw(_message(kind, depth - 1)))
    elif field.is_repeated:
        getattr(made, field.name).extend(draw(st.lists(_scalar(field), max_size=4)))
    else:
        setattr(made, field.name, draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_STRING:
        return TEXTS
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=20)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type in _FLOATS:
        return st.sampled_from(FLOATS)
    low, high = (-(2**63), 2**63 - 1)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_ENUM):
        low, high = (-(2**31), 2**31 - 1)
    return st.sampled_from([each for each in INTEGERS if low <= each <= high] + [3, 4, 5])


# JSON

SCALARS = st.none() | st.booleans() | st.sampled_from([*INTEGERS, *FLOATS]) | JSON_TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(JSON_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed_json(draw: st.DrawFn, seeds: list[Any]) -> bytes:
    """A seed with one to three of its values replaced, removed or added."""
    value = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        value = _changed(draw, value)
    return json.dumps(value).encode()


def _changed(draw: st.DrawFn, value: Any) -> Any:
    """Go down at random, and change what is there."""
    here = draw(st.integers(0, 3)) == 0
    if isinstance(value, dict) and value and not here:
        name = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 5)) == 0:
            return {**value, draw(JSON_TEXTS): value[name]}
        if draw(st.integers(0, 5)) == 0:
            return {other: each for other, each in value.items() if other != name}
        return {**value, name: _changed(draw, value[name])}
    if isinstance(value, list) and value and not here:
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _changed(draw, value[place]), *value[place + 1 :]]
    return draw(VALUES)
