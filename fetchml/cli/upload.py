"""Keeping a folder as a snapshot on the server: asked first, and sent only if it must be."""

from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fetchml.cli.render import console, size
from fetchml.client import Client, Snapshot
from fetchml.client.snapshots.local import LocalSnapshot


def keep(client: Client, folder: Path) -> tuple[Snapshot, LocalSnapshot]:
    """The snapshot of a folder, and what went into it."""
    code = LocalSnapshot.read(folder)
    files = "1 file" if len(code.entries) == 1 else f"{len(code.entries)} files"
    about = f"Snapshot {code.id[:12]}: {files}, {size(sum(e.size for e in code.entries))}"
    if (known := client.find_snapshot(code.id)) is not None:
        _say(f"{about}; the server has it")
        return known, code
    archive, packed = code.pack()
    with archive, _progress() as progress:
        _say(f"{about}; sending {size(packed)}")
        sent = progress.wrap_file(archive, packed, description="sending")
        kept = client.send_snapshot(code, sent)
    if kept.id != code.id:
        _say(f"The folder changed while it was packed: what was sent is {kept.id[:12]}")
    return kept, code


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
