"""Snapshots: trees of code, identified by their content. What they may hold, and their id.

The id is the SHA-256 of the tree's manifest (`manifest`, `id_of`), which lists type and content of
every entry in the order of their paths, without times, owners or other permissions. So the same
tree has the same id wherever it was packed. The client computes it before the upload
(`client/snapshots.py`), and the server again from what it has unpacked (`snapshots/files.py`), both
with these functions.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from msgspec import field
from msgspec.structs import replace

from fetchml.core.model import Value
from fetchml.core.storage import on_disk

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


PROJECT_FILE = "fetchml.toml"
MAX_PROJECT_FILE_BYTES = 8 * 1024
"""Largest fetchml.toml of an upload: the worst one takes its parser 20 ms. Older releases accepted
64 KiB."""
_HEAD = b"fetchml snapshot 1\n"
_PIECE_BYTES = 64 * 1024
"""Bytes of a manifest that are decoded at once."""


class EntryKind(StrEnum):
    FILE = "file"
    EXECUTABLE = "executable"
    FOLDER = "folder"
    LINK = "link"


class Entry(NamedTuple):
    path: str
    """Relative path, with `/`."""
    kind: EntryKind
    size: int = 0
    """Size of a file in bytes."""
    content: str = ""
    """A file's SHA-256 in hex, or a link's target."""


class Upload(Value, frozen=True):
    """One user's upload of a snapshot, which a private server hides from other users."""

    created_at: int
    """Time of the user's first upload."""
    used_at: int
    git_commit: str | None = None
    git_dirty: bool | None = None


class ParsedFile(Value, frozen=True):
    """The settings in a fetchml.toml, whose parser is too slow to run at each submit."""

    release: str
    """The release that parsed it. Another one may have other settings."""
    fields: str
    """Valid settings, as JSON."""
    faults: tuple[tuple[str, str], ...]
    """Violations: field and rule."""


class Snapshot(Value, frozen=True):
    """The record of a stored tree. Stored as JSON; a field that is added later needs a default."""

    id: str
    size_bytes: int
    """Total size of the files, unpacked."""
    file_count: int
    """Files and links."""
    created_at: int
    used_at: int
    """When it was last uploaded, looked up or run."""
    users: tuple[str, ...]
    """Names of all users that have uploaded it."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    """Whether the tree differs from its Git commit."""
    project_file: str | None = None
    """Text of its fetchml.toml; `None` if it has none."""
    parsed: ParsedFile | None = None
    """`None` if it has no fetchml.toml, or an older release uploaded it."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    """Uploads by user."""
    disk_bytes: int = 0
    """Disk use, folders and small files in whole blocks; 0 in records of older releases (see
    `with_disk_bytes`)."""


def disk_bytes_of(entries: Iterable[Entry], manifest_bytes: int) -> int:
    """Disk use of a tree and its manifest, rounded up."""
    return sum(on_disk(entry.size) for entry in entries) + on_disk(manifest_bytes)


def with_disk_bytes(snapshot: Snapshot) -> Snapshot:
    """Fill in an estimate of the disk use that an older record lacks."""
    if snapshot.disk_bytes:
        return snapshot
    return replace(snapshot, disk_bytes=snapshot.size_bytes + snapshot.file_count * on_disk(1))


def manifest(entries: Iterable[Entry]) -> bytes:
    """Encode a manifest canonically. Parent folders need not be given. Raises ValueError for a
    duplicate path."""
    by_path = {}
    for entry in entries:
        if entry.path in by_path:
            raise ValueError(f"{entry.path!r} appears twice")
        by_path[entry.path] = entry
    for path in list(by_path):
        for folder in parents(path):
            by_path.setdefault(folder, Entry(folder, EntryKind.FOLDER))
    lines = sorted(
        f"{path}\0{entry.kind}\0{entry.size}\0{entry.content}\0".encode()
        for path, entry in by_path.items()
    )
    return b"".join((_HEAD, *lines))


def entries_of(data: bytes) -> Iterator[Entry]:
    """Decode a manifest: every folder comes before its content. Raises ValueError."""
    if not data.startswith(_HEAD):
        raise ValueError("not the manifest of a snapshot")
    fields = _fields_of(data)
    for path, kind, size, content in zip(fields, fields, fields, fields, strict=True):
        yield Entry(path, EntryKind(kind), int(size), content)


def _fields_of(data: bytes) -> Iterator[str]:
    # Splitting all of a large manifest at once would stop all threads meanwhile.
    rest = b""
    for begin in range(len(_HEAD), len(data), _PIECE_BYTES):
        *fields, rest = (rest + data[begin : begin + _PIECE_BYTES]).split(b"\0")
        for each in fields:
            yield each.decode()


def id_of(manifest_bytes: bytes) -> str:
    return hashlib.sha256(manifest_bytes).hexdigest()


def without(user: str, snapshot: Snapshot) -> Snapshot:
    """The record without one user's upload."""
    return replace(
        snapshot,
        users=tuple(each for each in snapshot.users if each != user),
        uploads={name: upload for name, upload in snapshot.uploads.items() if name != user},
    )


def as_seen_by(user: str, snapshot: Snapshot) -> Snapshot:
    """The record with one user's upload only."""
    # Older releases recorded only the user of an upload.
    upload = snapshot.uploads.get(user) or Upload(snapshot.created_at, snapshot.used_at)
    return replace(
        snapshot,
        users=(user,),
        created_at=upload.created_at,
        used_at=upload.used_at,
        git_commit=upload.git_commit,
        git_dirty=upload.git_dirty,
    )
