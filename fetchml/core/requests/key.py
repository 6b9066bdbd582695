"""The rules for a new API key."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from fetchml.core.model import Role
from fetchml.core.requests import checks
from fetchml.core.requests.checks import Violation, also

LAST_EXPIRY_MS = 253_402_300_799_999
"""The end of the year 9999: the last time that a protobuf Timestamp may hold."""

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


def violations(
    name: str, role: Role | None, expires_at: int | None, now: int
) -> Iterator[Violation]:
    """Return the violations of a new key. Times are in milliseconds since the epoch.

    `role`: `None` if the request names none that exists. `expires_at`: `None` if the key never
    expires.
    """
    if not _NAME.fullmatch(name):
        yield Violation("name", "must be 1 to 64 letters, digits, '.', '_', '@' or '-'")
    if role is None:
        yield Violation("role", f"must be {', '.join(list(Role)[:-1])} or {list(Role)[-1]}")
    if expires_at is not None:
        if not 0 <= expires_at <= LAST_EXPIRY_MS:
            yield Violation("expires_at", "must be a time from 1970 to 9999")
        elif expires_at <= now:
            yield Violation("expires_at", "must be in the future")


def _time(value: str) -> str | None:
    return checks.TIME_RULE if checks.milliseconds(value) is None else None


class KeyRequest(msgspec.Struct, frozen=True):
    """A request for a key, before `violations`."""

    name: Annotated[str, Meta(max_length=64)]
    role: Annotated[str, Meta(max_length=64)]
    expires_at: Annotated[str, Meta(extra=also(_time))] | None = None


class NewKey(NamedTuple):
    """A key as it was requested, before `violations`."""

    name: str
    role: Role | None
    expires_at: int | None


def read(fields: Mapping[str, object]) -> tuple[NewKey | None, list[Violation]]:
    """Read a request in JSON. Returns the violations of its types, without which there is a key."""
    asked, wrong = checks.read(fields, KeyRequest)
    if asked is None:
        return None, wrong
    role = next((role for role in Role if role == asked.role), None)
    expires_at = None if asked.expires_at is None else checks.milliseconds(asked.expires_at)
    return NewKey(asked.name, role, expires_at), []
