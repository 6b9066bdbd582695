"""The store's side of SQL queries: writing views (`core.sql_views`) to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

BEFORE, CHANGES = "before", "changes"
"""Files of `export_period`."""


class RecordedPeriod(NamedTuple):
    since: int
    """Begin of the period, not before the first change that the journal has."""
    is_cut: bool
    """Whether the journal had older changes, which are gone."""


class HistoryStore(Protocol):
    folder: Path
    """The only folder below which `export` may write."""

    async def export(self, views: Sequence[str], folder: Path, owner: str | None) -> None:
        """Write each view to a Parquet file of its name in a folder.

        All show the same state, with everything durable. `owner`: only what belongs to this user;
        `None`: all. Raises ReadTooLong, and OSError if a file cannot be written. Cancelled, it
        writes nothing more on return.
        """

    async def export_period(self, since: int, folder: Path) -> RecordedPeriod:
        """Write the changes after a time (ms since the epoch) as Parquet files into a folder.

        CHANGES: `seq`, `at_ms` and `data` of each, in their order. BEFORE: `data` of the tasks that
        were live then, in their version of that time if the journal has it, and of those that had
        ended lately. `data` are tasks in JSON. Raises as `export` does.
        """
