"""A local folder as a snapshot: its files, its id, and the upload."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from fetchml.client.errors import BadFolder
from fetchml.client.snapshots.archive import read_entries, write_archive
from fetchml.client.snapshots.source_tree import SourceTree, read_tree
from fetchml.core.requests.snapshot import Entry, id_of, manifest
from fetchml.v1.snapshot_pb2 import UploadSnapshotRequest

PIECE_BYTES = 256 * 1024


class LocalSnapshot(NamedTuple):
    """The files of a folder, as one snapshot."""

    tree: SourceTree
    entries: list[Entry]
    id: str
    """The id that the server will give it: a hash of the entries."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and hash every file of the folder. Raises BadFolder."""
        tree = read_tree(folder)
        if not tree.paths:
            raise BadFolder(
                f"There is nothing to send in {folder}",
                "The folder is empty, or .gitignore (also of the folders above) and .fetchmlignore "
                "exclude all of it.",
            )
        entries = read_entries(tree)
        return cls(tree, entries, id_of(manifest(entries)))

    def pack(self) -> tuple[BinaryIO, int]:
        """Return the archive, in a temporary file to be closed by the caller, and its size in
        bytes. Raises BadFolder."""
        archive = tempfile.TemporaryFile()  # noqa: SIM115  # the caller's to close
        try:
            write_archive(self.tree, self.entries, archive)
        except BaseException:
            archive.close()
            raise
        size = archive.tell()
        archive.seek(0)
        return archive, size

    def pieces(self, archive: BinaryIO) -> Iterator[UploadSnapshotRequest]:
        """Yield the messages of the upload. `archive` is read from its position."""
        first: dict[str, Any] = {
            "git_commit": self.tree.git_commit,
            "git_dirty": self.tree.git_dirty,
        }
        while data := archive.read(PIECE_BYTES):
            yield UploadSnapshotRequest(data=data, **first)
            first = {}
