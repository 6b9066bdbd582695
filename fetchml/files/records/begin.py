"""The records of an attempt's beginning."""

from typing import NamedTuple

import msgspec


class Progress(NamedTuple):
    """The steps that an attempt has reached before its command runs."""

    is_open: bool
    is_revoked: bool
    owner: tuple[int, int] | None


class Claim(msgspec.Struct, frozen=True):
    """The owner of the attempt."""

    revoked: bool = False
    """The server made the claim: the command never starts."""
    pid: int | None = None
    """In the shim's pid namespace; `None` if revoked, not written yet, or damaged."""
    starttime: int = 0
    """Clock ticks after boot, field 22 of /proc/PID/stat."""
    boot_id: str = ""


class StartRecord(msgspec.Struct, frozen=True):
    at: int
    """Milliseconds since the epoch (UTC)."""
    pid: int
    """The command's, in the shim's pid namespace."""
