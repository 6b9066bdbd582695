"""The store's side of SQL queries: writing views (`core.history`) to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class HistoryStore(Protocol):
    folder: Path
    """The only folder below which `export` may write."""

    async def export(self, views: Sequence[str], folder: Path, owner: str | None) -> None:
        """Write each view to a Parquet file of its name in a folder.

        All show the same state, with everything durable. `owner`: only what belongs to this user;
        `None`: all. Raises ReadTooLong, and OSError if a file cannot be written. Cancelled, it
        writes nothing more on return.
        """
