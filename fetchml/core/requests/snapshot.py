"""What a snapshot is: a tree of code, named by its content.

The id is the SHA-256 of the tree's manifest. The manifest says of every entry, in the order of
their paths, what it is and what it holds, and nothing of times, owners or other rights. So the
same tree has the same id wherever it was packed.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from msgspec import field
from msgspec.structs import replace

from fetchml.core.model import Principal, Role, Value
from fetchml.core.storage import on_disk

PROJECT_FILE = "fetchml.toml"
MAX_PROJECT_FILE_BYTES = 64 * 1024
MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_DEPTH = 64

_HEAD = b"fetchml snapshot 1\n"


class EntryKind(StrEnum):
    FILE = "file"
    EXECUTABLE = "executable"
    FOLDER = "folder"
    LINK = "link"


class Entry(NamedTuple):
    path: str
    """Relative, with `/`."""
    kind: EntryKind
    size: int = 0
    """Of a file, in bytes."""
    content: str = ""
    """A file's SHA-256 in hexadecimal, a link's target."""


class Upload(Value, frozen=True):
    """What one user did with a snapshot: all that another may not learn on a private server."""

    created_at: int
    """When it was first uploaded by that user."""
    used_at: int
    git_commit: str | None = None
    git_dirty: bool | None = None


class Snapshot(Value, frozen=True):
    """What is known of a stored tree. Stored as JSON; a field added later must have a default."""

    id: str
    size_bytes: int
    """Of all files together, unpacked."""
    file_count: int
    """Files and links."""
    created_at: int
    used_at: int
    """When it was last uploaded, asked for or run."""
    users: tuple[str, ...]
    """All who have uploaded it."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    """The tree was not just what the commit holds."""
    project_file: str | None = None
    """The text of its fetchml.toml."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    """By user, of all who have uploaded it."""
    disk_bytes: int = 0
    """What it takes on the disk, folders and small files in whole blocks. 0: an older release kept
    it; see `with_disk_bytes`."""


def disk_bytes_of(entries: Iterable[Entry], manifest_bytes: int) -> int:
    """What a tree and its manifest take on the disk. Rather too much than too little."""
    return sum(on_disk(entry.size) for entry in entries) + on_disk(manifest_bytes)


def with_disk_bytes(found: Snapshot) -> Snapshot:
    """An older record knows neither its folders nor what its files take: an estimate."""
    if found.disk_bytes:
        return found
    return replace(found, disk_bytes=found.size_bytes + found.file_count * on_disk(1))


def manifest(entries: Iterable[Entry]) -> bytes:
    """The canonical bytes. Folders above an entry need not be given. Raises ValueError if a path
    is given twice."""
    by_path = {}
    for entry in entries:
        if entry.path in by_path:
            raise ValueError(f"{entry.path!r} is there twice")
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
    """What a manifest lists: every folder before what is in it. Raises ValueError."""
    if not data.startswith(_HEAD):
        raise ValueError("not the manifest of a snapshot")
    fields = iter(data.removeprefix(_HEAD).decode().split("\0")[:-1])
    for path, kind, size, content in zip(fields, fields, fields, fields, strict=True):
        yield Entry(path, EntryKind(kind), int(size), content)


def id_of(manifest_bytes: bytes) -> str:
    return hashlib.sha256(manifest_bytes).hexdigest()


def parents(path: str) -> Iterator[str]:
    """The folders above, the innermost first."""
    while path := posixpath.dirname(path):
        yield path


def path_fault(path: str) -> str | None:
    """What is wrong with an entry's path."""
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
    """Why a symbolic link may lead out of the tree, or is none.

    Its `..` climb real folders, and then it goes down, perhaps through other links, of which each
    stays inside. So `..` may stand at the start only: after a link it would climb out of that
    link's target.
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


def may_see(who: Principal, snapshot: Snapshot, *, private: bool) -> bool:
    """`private`: what only others have uploaded is invisible."""
    return not private or who.role is Role.ADMIN or who.user in snapshot.users


def may_delete(who: Principal, snapshot: Snapshot, *, private: bool) -> bool:
    """What others have uploaded too is not one user's own; `private`: nobody learns that they
    have, and it is gone for one user alone."""
    if who.role is not Role.USER:
        return who.role is Role.ADMIN
    return who.user in snapshot.users if private else snapshot.users == (who.user,)


def without(user: str, snapshot: Snapshot) -> Snapshot:
    """As if that user had never uploaded it."""
    return replace(
        snapshot,
        users=tuple(each for each in snapshot.users if each != user),
        uploads={name: upload for name, upload in snapshot.uploads.items() if name != user},
    )


def as_seen_by(user: str, snapshot: Snapshot) -> Snapshot:
    """As if nobody else had uploaded it."""
    # Of an upload that an older release kept, only the user is known.
    known = snapshot.uploads.get(user) or Upload(snapshot.created_at, snapshot.used_at)
    return replace(
        snapshot,
        users=(user,),
        created_at=known.created_at,
        used_at=known.used_at,
        git_commit=known.git_commit,
        git_dirty=known.git_dirty,
    )
