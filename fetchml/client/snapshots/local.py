"""A folder of code as a snapshot: its id, and the pieces that are sent."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from fetchml.client.errors import BadFolder
from fetchml.client.snapshots.archive import entries_in, pack
from fetchml.client.snapshots.source_tree import Tree, read_tree
from fetchml.core.requests.snapshot import Entry, id_of, manifest
from fetchml.v1.snapshot_pb2 import UploadSnapshotRequest

PIECE_BYTES = 256 * 1024


class Code(NamedTuple):
    tree: Tree
    entries: list[Entry]
    id: str
    """The one that the server will give it."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises BadFolder."""
        tree = read_tree(folder)
        if not tree.paths:
            raise BadFolder(
                f"There is nothing to send in {folder}",
                "It is empty, or all of it is ignored (.gitignore, of folders above too; "
                ".fetchmlignore).",
            )
        entries = entries_in(tree)
        return cls(tree, entries, id_of(manifest(entries)))

    def pack(self) -> tuple[BinaryIO, int]:
        """The archive at its start, in a file that is gone once it is closed, and its size in
        bytes. Raises BadFolder."""
        archive = tempfile.TemporaryFile()  # noqa: SIM115  # the caller's to close
        try:
            pack(self.tree, self.entries, archive)
        except BaseException:
            archive.close()
            raise
        size = archive.tell()
        archive.seek(0)
        return archive, size

    def pieces(self, archive: BinaryIO) -> Iterator[UploadSnapshotRequest]:
        first: dict[str, Any] = {
            "git_commit": self.tree.git_commit,
            "git_dirty": self.tree.git_dirty,
        }
        while data := archive.read(PIECE_BYTES):
            yield UploadSnapshotRequest(data=data, **first)
            first = {}
