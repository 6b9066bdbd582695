"""Views without rows, for stores in memory."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from fetchml.core.sql_views import BY_NAME


class MemoryHistory:
    folder = Path(tempfile.gettempdir())

    async def export(self, views: Sequence[str], folder: Path, owner: str | None) -> None:
        with duckdb.connect() as connection:
            for view in views:
                columns = ", ".join(f"NULL::{c.type} AS {c.name}" for c in BY_NAME[view].columns)
                connection.execute(
                    f"COPY (SELECT {columns} LIMIT 0) TO '{folder / view}' (FORMAT parquet)"
                )
