"""Upload of a folder, and the progress bar of transfers."""

from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fetchml.cli.render import can_redraw, console, size
from fetchml.client import Client, Snapshot
from fetchml.client.snapshots import LocalSnapshot


def transfer() -> Progress:
    """Return a progress bar, hidden if stderr is not a terminal."""
    out = console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        console=out,
        transient=True,
        disable=not can_redraw(out),
    )


def upload_folder(client: Client, folder: Path) -> tuple[Snapshot, LocalSnapshot]:
    """Return the snapshot of a folder, and its local form."""
    local = LocalSnapshot.read(folder)
    files = "1 file" if len(local.entries) == 1 else f"{len(local.entries)} files"
    about = f"Snapshot {local.id[:12]}: {files}, {size(sum(e.size for e in local.entries))}"
    if (known := client.find_snapshot(local.id)) is not None:
        _print(f"{about}; already on the server")
        return known, local
    archive, packed = local.pack()
    with archive, transfer() as progress:
        _print(f"{about}; uploading {size(packed)}")
        sent = progress.wrap_file(archive, packed, description="uploading")
        kept = client.send_snapshot(local, sent)
    if kept.id != local.id:
        _print(f"The folder changed during the upload: the snapshot is {kept.id[:12]}")
    return kept, local


def _print(text: str) -> None:
    console(stderr=True).print(text)
