"""The entries of a source tree, and the archive that is uploaded."""

import hashlib
import os
import tarfile
from pathlib import Path
from typing import BinaryIO

from fetchml.client.errors import BadFolder
from fetchml.client.snapshots.source_tree import OWN_IGNORE, SourceTree
from fetchml.core.requests.snapshot import Entry, EntryKind
from fetchml.core.requests.snapshot_paths import link_fault, path_fault

COMPRESSION = 3
"""gzip level: code is small, and large files compress badly."""


def read_entries(tree: SourceTree) -> list[Entry]:
    """Return an entry for each path, with the hash of each file. Raises BadFolder."""
    try:
        return [_entry(tree.root, path) for path in tree.paths]
    except OSError as error:
        raise BadFolder(f"Can't read {error.filename}: {error.strerror}") from error


def write_archive(tree: SourceTree, entries: list[Entry], archive: BinaryIO) -> None:
    """Write a tar.gz archive of the entries. Raises BadFolder."""
    try:
        with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=COMPRESSION) as tar:
            for entry in entries:
                _add(tar, tree.root / entry.path, entry)
    except OSError as error:
        raise BadFolder(f"Can't pack {tree.root}: {error.strerror or error}") from error


def _entry(root: Path, path: str) -> Entry:
    found = root / path
    fault = path_fault(path)
    if found.is_symlink():
        target = os.readlink(found)  # noqa: PTH115  # a Path would normalize it
        entry = Entry(path, EntryKind.LINK, content=target)
        fault = fault or link_fault(path, target)
    elif not found.is_file():
        fault = "is not a file, folder or link"
    if fault:
        shown = path.encode("utf-8", "replace").decode()
        raise BadFolder(f"{shown} {fault}", f"Leave it out with a line in {OWN_IGNORE}.")
    if not found.is_symlink():
        with found.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            status = os.fstat(file.fileno())
        kind = EntryKind.EXECUTABLE if status.st_mode & 0o100 else EntryKind.FILE
        entry = Entry(path, kind, status.st_size, digest)
    return entry


def _add(tar: tarfile.TarFile, found: Path, entry: Entry) -> None:
    """Add an entry without owner and times: equal trees make equal archives."""
    member = tarfile.TarInfo(entry.path)
    if entry.kind is EntryKind.LINK:
        member.type, member.linkname = tarfile.SYMTYPE, entry.content
        tar.addfile(member)
        return
    member.size = entry.size
    member.mode = 0o755 if entry.kind is EntryKind.EXECUTABLE else 0o644
    with found.open("rb") as file:
        tar.addfile(member, file)
