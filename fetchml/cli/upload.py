"""Keeping a folder as a snapshot on the server: asked first, and sent only if it must be."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fetchml.cli.client import Client
from fetchml.cli.failure import Exit, Failure
from fetchml.cli.pack import entries_in, pack
from fetchml.cli.render import console, size
from fetchml.cli.tree import Tree, read_tree
from fetchml.core.snapshot import id_of, manifest
from fetchml.v1.snapshot_pb2 import GetSnapshotRequest, Snapshot, UploadSnapshotRequest

PIECE_BYTES = 256 * 1024


def keep(client: Client, folder: Path) -> tuple[Snapshot, Tree]:
    """The snapshot of a folder, and what went into it. Raises Failure."""
    tree = read_tree(folder)
    if not tree.paths:
        raise Failure(
            f"There is nothing to send in {folder}",
            "It is empty, or all of it is ignored (.gitignore, of folders above too; "
            ".fetchmlignore).",
            Exit.USAGE,
        )
    entries = entries_in(tree)
    snapshot_id = id_of(manifest(entries))
    files = "1 file" if len(entries) == 1 else f"{len(entries)} files"
    about = f"Snapshot {snapshot_id[:12]}: {files}, {size(sum(e.size for e in entries))}"
    if (known := _find(client, snapshot_id)) is not None:
        _say(f"{about}; the server has it")
        return known, tree
    with tempfile.TemporaryFile() as archive:
        pack(tree, entries, archive)
        packed = archive.tell()
        _say(f"{about}; sending {size(packed)}")
        archive.seek(0)
        with _progress() as progress:
            sent = progress.wrap_file(archive, packed, description="sending")
            kept: Snapshot = client.send(client.snapshots.UploadSnapshot, _pieces(sent, tree))
    if kept.id != snapshot_id:
        _say(f"The folder changed while it was packed: what was sent is {kept.id[:12]}")
    return kept, tree


def _find(client: Client, snapshot_id: str) -> Snapshot | None:
    request = GetSnapshotRequest(snapshot_id=snapshot_id)
    try:
        found: Snapshot = client.call(client.snapshots.GetSnapshot, request)
    except Failure as failure:
        if failure.exit_code == Exit.NOT_FOUND:
            return None
        raise
    return found


def _pieces(archive: BinaryIO, tree: Tree) -> Iterator[UploadSnapshotRequest]:
    first: dict[str, Any] = {"git_commit": tree.git_commit, "git_dirty": tree.git_dirty}
    while data := archive.read(PIECE_BYTES):
        yield UploadSnapshotRequest(data=data, **first)
        first = {}


def _say(text: str) -> None:
    console(stderr=True).print(text)


def _progress() -> Progress:
    """Seen on a terminal only."""
    out = console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    )
