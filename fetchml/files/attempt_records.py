"""The records in an attempt's folder that the shim and the server write for each other
(shim/README.md)."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from fetchml.core.model import AttemptEnd
from fetchml.core.scheduling.lost_attempts import LEASE_LOST


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


LIMIT = "limit"
ENTER = "enter"


def write_limit(control: Path, timeout_ms: int) -> None:
    """Replace the record of a changed time limit; 0: no limit. Raises OSError."""
    _replace(control, LIMIT, f"timeout_ms={timeout_ms}\n", 0o644)


def request_relay(
    control: Path, mark: str, ports: str, key: str, owner: tuple[int, int] | None = None
) -> None:
    """Ask the shim to start the relay by which the server enters the attempt. Raises OSError.

    `owner`: uid and gid of the shim; `None` if they are the server's own.

    `mark`: 32 digits, others in each request. `ports`: the range for the relay, as
    `LOWEST-HIGHEST`. `key`: the certificate of both ends with its key, in PEM.
    """
    _replace(control, ENTER, f"{mark}\n{ports}\n{key}", 0o600, owner)


def _replace(
    control: Path, name: str, text: str, mode: int, owner: tuple[int, int] | None = None
) -> None:
    """Replace a record in an attempt's `control/` as a whole. Raises OSError.

    Without isolation a task can leave anything in the folder, and a hostile backup too: no link is
    followed.
    """
    draft_name = f"{name}.new"
    folder = os.open(control, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with suppress(FileNotFoundError):
            os.unlink(draft_name, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(draft_name, flags, 0o600, dir_fd=folder), "w") as draft:
            draft.write(text)
            if owner is not None:
                os.fchown(draft.fileno(), *owner)
            os.fchmod(draft.fileno(), mode)
        os.rename(draft_name, name, src_dir_fd=folder, dst_dir_fd=folder)
        # Not before: a folder that the shim can't enter is the same to it as an empty one.
        os.fchmod(folder, 0o755)
    finally:
        os.close(folder)


LAST_MS = 253_402_300_799_999
"""The end of the year 9999: RFC 3339 has no later times."""
_MAX_ERROR = 500


def end_of(record: dict[str, str]) -> AttemptEnd | None:
    """Return the end that the lines of `exit` describe; `None` if they are no record of one."""
    try:
        started = integer(record, "started_ms", 0, LAST_MS, default=0)
        ended = integer(record, "at_ms", 0, LAST_MS)
        code = integer(record, "code", 0, 255) if "code" in record else None
        signal = integer(record, "signal", 1, 64) if "signal" in record else None
        timed_out = bool(integer(record, "timed_out", 0, 1, default=0))
        stopped = bool(integer(record, "stopped", 0, 1, default=0))
        warned = bool(integer(record, "warned", 0, 1, default=0))
        out_of_memory = bool(integer(record, "out_of_memory", 0, 1, default=0))
        lease_lost = bool(integer(record, "lease_lost", 0, 1, default=0))
    except ValueError:
        return None
    if (code is None) == (signal is None):
        return None
    error = "".join(c if c.isprintable() else "?" for c in record.get("error", ""))
    return AttemptEnd(
        at=max(started, ended),
        started_at=started or None,
        code=code,
        signal=signal,
        lost=LEASE_LOST if lease_lost else None,
        timed_out=timed_out,
        stopped=stopped,
        warned=warned,
        out_of_memory=out_of_memory,
        start_error=error[:_MAX_ERROR] or None,
    )


def integer(
    record: dict[str, str], key: str, low: int, high: int, *, default: int | None = None
) -> int:
    """Raises ValueError for what is no number from `low` to `high`."""
    text = record.get(key)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch("[0-9]{1,19}", text) or not low <= int(text) <= high:
        raise ValueError(key)
    return int(text)
