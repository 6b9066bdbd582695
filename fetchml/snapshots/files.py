"""Snapshots on the disk: each a folder that appears complete, or not at all.

`<data-dir>/snapshots/<id>/` has `tree/` and `manifest`; `<data-dir>/snapshots/.new/` has what is
being received, unpacked or removed. Everything here blocks, for a long time with many files.
"""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fetchml import __version__
from fetchml.core.requests import submission
from fetchml.core.snapshots import (
    MAX_PROJECT_FILE_BYTES,
    PROJECT_FILE,
    Entry,
    EntryKind,
    ParsedFile,
    disk_bytes_of,
    entries_of,
    id_of,
    manifest,
)
from fetchml.files import untrusted
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.layout import SNAPSHOTS
from fetchml.files.own_file import sync_folder, sync_tree
from fetchml.ports.launcher import Owner
from fetchml.snapshots.unpack import RefusedArchive, UnpackLimits, unpack

_NOT_HERE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_PIECE_BYTES = 64 << 20
"""Bytes that the kernel copies at once if it cannot share the blocks."""


class DamagedSnapshot(Exception):
    """The files of the snapshot differ from its manifest."""


class NewSnapshot:
    """An upload in progress: a folder with the archive, later with the tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = folder / "archive"
        self.size_bytes = 0
        self.file_count = 0
        self.disk_bytes = 0
        self.project_file: str | None = None
        self.parsed: ParsedFile | None = None

    def unpack(self, limits: UnpackLimits, check: Callable[[], None]) -> str:
        """Unpack the archive; returns the id. Durable on return. Raises as `unpack.unpack`."""
        tree = self.folder / "tree"
        entries = unpack(self.archive, tree, limits, check)
        self.archive.unlink()
        self.size_bytes = sum(entry.size for entry in entries)
        self.file_count = sum(entry.kind is not EntryKind.FOLDER for entry in entries)
        self.project_file = _project_file(tree, entries)
        if self.project_file is not None:
            self.parsed = submission.read_project(self.project_file, __version__)
        data = manifest(entries)
        self.disk_bytes = disk_bytes_of(entries_of(data), len(data))
        (self.folder / "manifest").write_bytes(data)
        sync_tree(self.folder)
        return id_of(data)


class SnapshotFiles:
    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / SNAPSHOTS
        self._new = self._root / ".new"

    def open(self, recorded: frozenset[str]) -> frozenset[str]:
        """Remove unfinished uploads and trees that are not `recorded`; returns the known ones that
        exist."""
        self._new.mkdir(0o700, parents=True, exist_ok=True)
        untrusted.remove(self._new)
        self._new.mkdir(0o700)
        here = {path.name for path in self._root.iterdir()} - {self._new.name}
        for snapshot_id in here - recorded:
            self.remove(snapshot_id)
        return recorded & here

    def begin(self) -> NewSnapshot:
        return NewSnapshot(Path(tempfile.mkdtemp(dir=self._new)))

    def keep(self, new: NewSnapshot, snapshot_id: str) -> None:
        """Put the upload in its place, durably."""
        new.folder.rename(self._root / snapshot_id)
        sync_folder(self._root)

    def discard(self, new: NewSnapshot) -> None:
        untrusted.remove(new.folder)

    def remove(self, snapshot_id: str) -> None:
        """Remove a tree, if it exists. After a crash `open` removes the rest."""
        doomed = self._new / f"removed-{snapshot_id}"
        untrusted.remove(doomed)
        try:
            (self._root / snapshot_id).rename(doomed)
        except FileNotFoundError:
            return
        untrusted.remove(doomed)

    def entries(self, snapshot_id: str) -> list[Entry]:
        """Return the files and links of a tree, in the order of their paths. Raises OSError,
        DamagedSnapshot."""
        data = (self._root / snapshot_id / "manifest").read_bytes()
        if id_of(data) != snapshot_id:
            raise DamagedSnapshot
        return [entry for entry in entries_of(data) if entry.kind is not EntryKind.FOLDER]

    def open_file(self, snapshot_id: str, path: str) -> BinaryIO:
        """Open a regular file of a tree. Raises OSError."""
        return untrusted.open_regular(self._root / snapshot_id / "tree", path)

    def copy(
        self, snapshot_id: str, attempt: AttemptFolder, owner: Owner, check: Callable[[], None]
    ) -> None:
        """Make the workspace a private copy that `owner` may write to. It appears complete, so an
        existing one is ready.

        `check` as for `unpack`. Raises OSError, DamagedSnapshot.
        """
        if os.path.lexists(attempt.workspace):
            return
        draft = attempt.workspace_draft
        untrusted.remove(draft)
        self.copy_to(snapshot_id, draft, owner, check)
        draft.rename(attempt.workspace)

    def copy_to(
        self, snapshot_id: str, target: Path, owner: Owner, check: Callable[[], None]
    ) -> None:
        """Make a folder that does not exist, or is empty, a copy that `owner` may write to.

        `check` as for `unpack`. Raises OSError, DamagedSnapshot.
        """
        folder = self._root / snapshot_id
        data = (folder / "manifest").read_bytes()
        if id_of(data) != snapshot_id:
            raise DamagedSnapshot
        target.mkdir(0o700, parents=True, exist_ok=True)
        for entry in entries_of(data):
            check()
            _copy_entry(entry, folder / "tree" / entry.path, target / entry.path, owner)
        _hand_over(target, owner, 0o700)


def _copy_entry(entry: Entry, source: Path, target: Path, owner: Owner) -> None:
    match entry.kind:
        case EntryKind.FOLDER:
            target.mkdir(0o700)
            _hand_over(target, owner, 0o700)
        case EntryKind.LINK:
            target.symlink_to(entry.content)
            if owner is not None:
                os.chown(target, *owner, follow_symlinks=False)
        case EntryKind.FILE | EntryKind.EXECUTABLE:
            if _copy_file(source, target) != entry.size:
                raise DamagedSnapshot
            _hand_over(target, owner, 0o700 if entry.kind is EntryKind.EXECUTABLE else 0o600)


def _copy_file(source: Path, target: Path) -> int:
    """Copy a file; returns its size. The kernel shares the blocks until one side writes, if the
    file system supports that."""
    copied = 0
    with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        try:
            while count := os.copy_file_range(reader.fileno(), writer.fileno(), _PIECE_BYTES):
                copied += count
        except OSError as error:
            if error.errno not in _NOT_HERE or copied:
                raise
            while count := os.sendfile(writer.fileno(), reader.fileno(), copied, _PIECE_BYTES):
                copied += count
    return copied


def _hand_over(path: Path, owner: Owner, mode: int) -> None:
    """Give a path to `owner`; if `None`, the image decides the user, and everybody has access."""
    if owner is None:
        path.chmod(mode | mode >> 3 | mode >> 6)
        return
    if owner != (os.geteuid(), os.getegid()):
        os.chown(path, *owner)
    path.chmod(mode)


def _project_file(tree: Path, entries: list[Entry]) -> str | None:
    for entry in entries:
        if entry.path == PROJECT_FILE:
            if entry.kind in (EntryKind.FOLDER, EntryKind.LINK):
                raise RefusedArchive(f"{PROJECT_FILE} is a {entry.kind}: it must be a file")
            if entry.size > MAX_PROJECT_FILE_BYTES:
                raise RefusedArchive(f"{PROJECT_FILE} is over {MAX_PROJECT_FILE_BYTES} bytes")
            try:
                return (tree / PROJECT_FILE).read_bytes().decode()
            except UnicodeDecodeError:
                raise RefusedArchive(f"{PROJECT_FILE} is not UTF-8") from None
    return None
