"""Which paths and links a snapshot's archive may hold."""

import posixpath
from collections.abc import Iterator

MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_DEPTH = 64
"""Most folders in a path."""


def parents(path: str) -> Iterator[str]:
    """The parent folders, the innermost first."""
    while path := posixpath.dirname(path):
        yield path


def path_fault(path: str) -> str | None:
    """The fault of an entry's path; `None` if it is valid."""
    parts = path.split("/")
    if path.startswith("/"):
        return "is an absolute path"
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty part, or a . or .. in its path"
    try:
        size = len(path.encode())
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if "\0" in path:
        return "has a NUL character in its name"
    if size > MAX_PATH_BYTES or longest > MAX_NAME_BYTES:
        return f"has a path of over {MAX_PATH_BYTES} bytes, or a name of over {MAX_NAME_BYTES}"
    return f"lies more than {MAX_DEPTH} folders deep" if len(parts) > MAX_DEPTH else None


def link_fault(path: str, target: str) -> str | None:
    """Return why a symbolic link is invalid or may lead out of the tree; `None` if it is safe.

    `..` is allowed at the start only, where it climbs real folders. Below, the path may pass other
    links, each of which stays inside; a later `..` would climb out of such a link's target.
    """
    parts = target.split("/")
    climbing = next((n for n, part in enumerate(parts) if part not in ("..", ".")), len(parts))
    up = parts[:climbing].count("..")
    if not target or target.startswith("/") or ".." in parts[climbing:] or up > path.count("/"):
        return "is a link that does not stay inside the snapshot"
    try:
        return "is a link with a NUL character" if b"\0" in target.encode() else None
    except UnicodeEncodeError:
        return "is a link whose target is not UTF-8"
