"""A fuzz target, and the pieces that inputs of several targets are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message


@dataclass(frozen=True)
class Target:
    parse: Callable[[bytes], object]
    seeds: Sequence[bytes]
    tokens: Sequence[bytes]
    refusals: tuple[type[Exception], ...] = ()
    message: type[Message] | None = None
    """The input is a message of this type: most are made field by field, so that they are read."""
    is_json: bool = False
    """The seeds are JSON: most inputs are seeds with other values, so that they are read."""
    share: float = 1
    """Of the time; more for targets that are slow or have many branches."""


SURROGATES = [b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\udcff"]
STEERING = [b"\0", b"\r\n", b"\x1b[2J", "\u202e".encode(), "\u2028".encode(), b"%00", b"%ff"]
NUMBERS = [b"-1", b"0", b"1e999", b"9" * 5000, b"2147483648", b"0.1", b"1_0", "\u0663".encode()]
WIRE = [*SURROGATES, *STEERING, b"\x0a", b"\x12", b"\x1a", b"\xff" * 9 + b"\x01", b"\x80", b"\x7f"]
"""Pieces of protobuf messages."""

JSON = [
    *SURROGATES, *STEERING, b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"true", b"1e999",
    b"-0", b"0.1", b"[" * 200, b"\\", b"{p}", b"{{p}}", b"9007199254740993",
]  # fmt: skip
NOT_JSON = (ValueError, RecursionError)


def as_text(data: bytes) -> str:
    """Decode as aiohttp decodes a header, and Python a command line."""
    return data.decode("utf-8", "surrogateescape")
