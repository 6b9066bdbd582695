"""Text from outside: what is accepted and how it is shown.

Clients, proxies, containers and tasks may send any bytes. Two kinds of text are accepted. *Content*
(arguments, values of variables, descriptions) may hold line breaks and other control characters,
since it is passed on unchanged. A *line* (names, ids, addresses, error messages) is one line that
can't control a terminal or forge a log entry. Both are valid Unicode: a lone surrogate, Python's
form of a byte that is not UTF-8, can neither be stored nor sent.
"""

import difflib
import re
from collections.abc import Iterable
from typing import TypeVar

import msgspec

MAX_ADDRESS = 64
"""Characters of a client's address; an IPv6 address has at most 45."""
MAX_NAME = 255
"""Characters to which an unchecked name or id is cut."""
MAX_MESSAGE = 2000
"""Characters to which a message of another program, such as Docker, is cut."""
MAX_COMPARED = 80
"""Characters of an unknown name that are compared with known ones."""

_STEERING = (
    "\x00-\x1f\x7f-\x9f"  # control characters, line breaks
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks of the writing direction
    "\u2028\u2029\ufeff"  # line and paragraph separators, the byte order mark
    "\ud800-\udfff"  # surrogates
)
_steering = re.compile(f"[{_STEERING}]").search

T = TypeVar("T")


def is_valid(value: str) -> bool:
    """Whether the text can be encoded as UTF-8."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def valid(value: str) -> str:
    """Replace each lone surrogate with U+FFFD."""
    if is_valid(value):
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def line_fault(value: str) -> str | None:
    """Return why the text is not a line; `None` if it is one."""
    if value.isprintable() or _steering(value) is None:
        return None
    return "must not hold line breaks, control characters or marks of the writing direction"


def shown(value: str, limit: int) -> str:
    """Return the text as a line of at most `limit` characters, for logs, the audit and errors.

    Characters that are not printable are escaped as in Python (`\\n`, `\\x1b`, `\\u202e`).
    """
    cut = value[:limit]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else _escaped(c) for c in cut)
    if len(cut) > limit or len(value) > limit:
        cut = cut[: limit - 1] + "…"
    return cut


def storable(value: T) -> T:
    """Return a msgspec structure with `valid` applied to all text in it.

    Nearly always it can be encoded, and is returned unchanged.
    """
    try:
        _encode(value)
    except UnicodeEncodeError:
        return msgspec.convert(_all_valid(msgspec.to_builtins(value)), type(value))
    return value


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


def nearest(name: str, known: Iterable[str], *, least: float = 0.6) -> str | None:
    """Return the known name that is most like an unknown one, to ask "did you mean …?"; `None` if
    none is like it. `least`: how alike they must be, from 0 to 1."""
    # Comparing takes time with the length of both.
    found = difflib.get_close_matches(name[:MAX_COMPARED], sorted(known), 1, cutoff=least)
    return found[0] if found else None
