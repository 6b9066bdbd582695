"""Errors of the operating system, as Python and DuckDB report them, and their remedies."""

import errno
import os

import duckdb

_NO_ROOM = "free some space there"
_MORE_FILES = "allow more open files (ulimit -n; LimitNOFILE= of a service)"
_OWN = "let the user who runs FetchML read and write all that is in there"
_ADVICE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: f"{_NO_ROOM}, or raise the user's quota",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EMFILE: _MORE_FILES,
    errno.ENFILE: "end the programs that hold the most files open on this machine",
    errno.ENOMEM: "leave it more memory",
    errno.EACCES: _OWN,
    errno.EPERM: _OWN,
    errno.EROFS: "have it mounted writable",
}
_HELD = "Could not set lock on file"
"""DuckDB's text for a database that another program has open."""


def advice(error: Exception) -> str | None:
    """Return what the host's owner can do, as an imperative; `None` for any other error.

    DuckDB reports such an error only by its text, as it does for a damaged file.
    """
    if isinstance(error, OSError):
        return _ADVICE.get(error.errno or 0)
    if not isinstance(error, duckdb.Error):
        return None
    text = str(error)
    if _HELD in text:
        return "end the program that has it open"
    matching = (what for number, what in _ADVICE.items() if f": {os.strerror(number)}" in text)
    return next(matching, None)


def with_advice(error: OSError) -> str:
    what = advice(error)
    return str(error) if what is None else f"{error}. To fix this, {what}, and try again"
