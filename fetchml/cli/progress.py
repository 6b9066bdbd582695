"""The progress of a transfer of bytes."""

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fetchml.cli.render import can_redraw, console


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
