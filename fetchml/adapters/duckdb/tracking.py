"""Runs on DuckDB: `ports.tracking_store.TrackingStore` on the store's writer and readers."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import duckdb

from fetchml.adapters.duckdb import tracking_sql as sql
from fetchml.adapters.duckdb.curves import read_curves
from fetchml.adapters.duckdb.journal_writer import JournalWriter
from fetchml.adapters.duckdb.points_fold import PointsFold
from fetchml.adapters.duckdb.readers import Read, Readers, T, snapshot
from fetchml.core.tracking import (
    Curve,
    CurveQuery,
    Point,
    Run,
    RunStatus,
    RunView,
)
from fetchml.ports.tracking_store import (
    FoundRuns,
    RunQuery,
    Series,
    SeriesHead,
    StoredRun,
    TrackingWrite,
    UserTotal,
)

PAGE_CHARACTERS = 12 << 20
"""Limit of a page of runs. A metric, a parameter and a tag count as 100 beside their text."""


class TrackingTables:
    def __init__(self, writer: JournalWriter, readers: Readers, fold: PointsFold) -> None:
        self._writer = writer
        self._readers = readers
        self._fold = fold

    def write(self, write: TrackingWrite) -> asyncio.Future[None]:
        return self._writer.track(write)

    async def last_series(self) -> int:
        def read(cursor: duckdb.DuckDBPyConnection) -> int:
            [(last,)] = cursor.execute(sql.LAST_SERIES).fetchall()
            return int(last)

        return await self._read(read)

    async def unfinished(self) -> list[tuple[str, str]]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
            return cursor.execute(sql.UNFINISHED).fetchall()

        return await self._read(read)

    async def totals(self) -> dict[str, UserTotal]:
        def read(cursor: duckdb.DuckDBPyConnection) -> dict[str, UserTotal]:
            return {user: UserTotal(*sums) for user, *sums in cursor.execute(sql.TOTALS).fetchall()}

        return await self._read(read)

    async def load(self, run_id: str) -> StoredRun | None:
        def read(cursor: duckdb.DuckDBPyConnection) -> StoredRun | None:
            with snapshot(cursor):
                rows = cursor.execute(sql.GET_RUN, [run_id]).fetchall()
                if not rows:
                    return None
                heads = [
                    SeriesHead(Series(*series), step, at, points)
                    for *series, step, at, points in cursor.execute(sql.HEADS, [run_id]).fetchall()
                ]
                params = cursor.execute(sql.PARAMS, sql.of_runs([run_id])).fetchall()
                tags = cursor.execute(sql.TAGS, sql.of_runs([run_id])).fetchall()
            return StoredRun(
                _run(rows[0]),
                heads,
                {key: value for _, key, value in params},
                {key: value for _, key, value in tags},
            )

        return await self._read(read)

    async def stored(self, points: Sequence[tuple[int, int, int, float]]) -> set[int]:
        def read(cursor: duckdb.DuckDBPyConnection) -> set[int]:
            asked = [*sql.columns(points), list(range(len(points)))]
            return {place for (place,) in cursor.execute(sql.STORED, asked).fetchall()}

        return await self._readers.read(read, slow=True)

    async def search(self, query: RunQuery) -> FoundRuns:
        def read(cursor: duckdb.DuckDBPyConnection) -> FoundRuns:
            with snapshot(cursor):
                found = cursor.execute(*sql.page_of_runs(query)).fetchall()
                ids = _fitting(cursor, found)
                rows = cursor.execute(sql.GET_RUNS, [ids]).fetchall()
                runs = {row[0]: _run(row) for row in rows}
                views = _views(cursor, [runs[run_id] for run_id in ids])
            return FoundRuns(views, cut=len(ids) < len(found))

        return await self._read(read, slow=True)

    async def runs(self, run_ids: Sequence[str]) -> list[Run]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[Run]:
            return [_run(row) for row in cursor.execute(sql.GET_RUNS, [list(run_ids)]).fetchall()]

        return await self._readers.read(read)

    async def get(self, run_id: str) -> RunView | None:
        def read(cursor: duckdb.DuckDBPyConnection) -> RunView | None:
            with snapshot(cursor):
                rows = cursor.execute(sql.GET_RUN, [run_id]).fetchall()
                return _views(cursor, [_run(row) for row in rows])[0] if rows else None

        return await self._read(read)

    async def history(self, run_id: str, key: str, *, limit: int, offset: int) -> list[Point]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[Point]:
            found = cursor.execute(sql.SERIES_OF, [run_id, key]).fetchall()
            if not found:
                return []
            rows = cursor.execute(sql.HISTORY, [*found[0], limit, offset]).fetchall()
            return [Point(key, value, at, step) for step, at, value in rows]

        return await self._readers.read(read, slow=True)

    async def curves(self, runs: Sequence[Run], query: CurveQuery) -> list[Curve]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[Curve]:
            with snapshot(cursor):
                return read_curves(cursor, runs, query)

        return await self._read(read, slow=True)

    async def _read(self, read: Read[T], *, slow: bool = False) -> T:
        """Read when all durable points are folded."""
        return await self._readers.read(read, slow=slow, after=self._fold.wait)


def _run(row: Sequence[object]) -> Run:
    run_id, experiment_id, user, name, status, *rest = row
    return Run(run_id, experiment_id, user, name, RunStatus(status), *rest)  # type: ignore[arg-type]


def _fitting(cursor: duckdb.DuckDBPyConnection, found: Sequence[tuple[str, int]]) -> list[str]:
    """Return the ids of the first runs, at least one, whose data fit into a page."""
    ids = [run_id for run_id, _ in found]
    sizes = dict(cursor.execute(sql.SIZES, sql.of_runs(ids)).fetchall())
    total = 0
    for number, (run_id, details) in enumerate(found):
        total += sizes.get(run_id, 0) + details
        if total > PAGE_CHARACTERS and number:
            return ids[:number]
    return ids


def _views(cursor: duckdb.DuckDBPyConnection, runs: Sequence[Run]) -> list[RunView]:
    ids = sql.of_runs([each.id for each in runs])
    metrics: dict[str, tuple[Point, ...]] = {
        run_id: tuple(map(Point, *columns))
        for run_id, *columns in cursor.execute(sql.LATEST, ids).fetchall()
    }
    params, tags = (defaultdict[str, dict[str, str]](dict) for _ in range(2))
    for found, statement in ((params, sql.PARAMS), (tags, sql.TAGS)):
        for run_id, key, value in cursor.execute(statement, ids).fetchall():
            found[run_id][key] = value
    return [
        RunView(each, metrics.get(each.id, ()), params.get(each.id, {}), tags.get(each.id, {}))
        for each in runs
    ]
