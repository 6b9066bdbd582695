"""Views without rows and periods without changes, for stores in memory."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from fetchml.core.sql_views import BY_NAME
from fetchml.ports.history_store import BEFORE, CHANGES, RecordedPeriod


class MemoryHistory:
    folder = Path(tempfile.gettempdir())

    async def export(self, views: Sequence[str], folder: Path, owner: str | None) -> None:
        with duckdb.connect() as connection:
            for view in views:
                columns = ", ".join(f"NULL::{c.type} AS {c.name}" for c in BY_NAME[view].columns)
                connection.execute(
                    f"COPY (SELECT {columns} LIMIT 0) TO '{folder / view}' (FORMAT parquet)"
                )

    async def export_period(self, since: int, folder: Path) -> RecordedPeriod:
        with duckdb.connect() as connection:
            for file in (BEFORE, CHANGES):
                columns = "NULL::BIGINT AS seq, NULL::BIGINT AS at_ms, NULL::VARCHAR AS data"
                connection.execute(
                    f"COPY (SELECT {columns} LIMIT 0) TO '{folder / file}' (FORMAT parquet)"
                )
        return RecordedPeriod(since, is_cut=False)
