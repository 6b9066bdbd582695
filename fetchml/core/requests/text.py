"""Text from outside: what may be kept of it, and how it is shown.

Clients, proxies, containers and tasks send any bytes. Two kinds of text are kept. *Content*
(arguments, values of variables, descriptions) may hold line breaks and other control characters,
since it is handed on as it came. A *line* (names, ids, addresses, error messages) is one line that
cannot steer a terminal or forge an entry of a log. Both are valid Unicode: a lone surrogate, which
Python uses for a byte that is not UTF-8, can neither be stored nor sent.
"""

import re
from typing import TypeVar

import msgspec

MAX_ADDRESS = 64
"""Characters of a client's address: an IPv6 address has at most 45."""
MAX_NAME = 255
"""Characters that are kept of a name or an id that was not checked otherwise."""
MAX_MESSAGE = 2000
"""Characters that are kept of a message from another program, such as the Docker engine."""

_STEERING = (
    "\x00-\x1f\x7f-\x9f"  # control characters, line breaks
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they change the direction of what follows
    "\u2028\u2029\ufeff"  # line and paragraph separators, the byte order mark
    "\ud800-\udfff"  # surrogates
)
_steering = re.compile(f"[{_STEERING}]").search

T = TypeVar("T")


def is_valid(value: str) -> bool:
    """Whether UTF-8 can hold it."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def valid(value: str) -> str:
    """The text with U+FFFD in the place of each lone surrogate."""
    if is_valid(value):
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def line_fault(value: str) -> str | None:
    """The rule that the text breaks if it is to be a line; `None` if it is one."""
    if value.isprintable() or _steering(value) is None:
        return None
    return "must not hold line breaks, control characters or marks of the writing direction"


def shown(value: str, limit: int) -> str:
    """The text as a line of at most `limit` characters, for logs, the audit and error messages.

    What is not printable is escaped as Python does it (`\\n`, `\\x1b`, `\\u202e`).
    """
    cut = value[:limit]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else _escaped(c) for c in cut)
    if len(cut) > limit or len(value) > limit:
        cut = cut[: limit - 1] + "…"
    return cut


def storable(value: T) -> T:
    """The same msgspec structure, with `valid` applied to all text in it.

    It is returned as it is if it can be encoded, as nearly always.
    """
    try:
        _encode(value)
    except UnicodeEncodeError:
        return msgspec.convert(_all_valid(msgspec.to_builtins(value)), type(value))
    return value


def is_storable(value: object) -> bool:
    """Whether a msgspec structure can be encoded."""
    try:
        _encode(value)
    except UnicodeEncodeError:
        return False
    return True


_encode = msgspec.json.Encoder().encode


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _all_valid(value: object) -> object:
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, dict):
        return {_all_valid(name): _all_valid(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_all_valid(each) for each in value]
    return value
