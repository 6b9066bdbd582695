"""Runs: points logged, a page of a search, curves. The floor of the points is DuckDB alone, which
appends the same rows in one commit for each call."""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any, cast
from zoneinfo import ZoneInfo

import duckdb

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, median
from benchmarks.processes import fetchml, scratch_folder
from fetchml.adapters.duckdb.database import open_database
from fetchml.adapters.duckdb.recovery import DatabaseFiles, connect_recovering
from fetchml.adapters.duckdb.store import DuckDBStore
from fetchml.auth.audit import Audit
from fetchml.core.model import Principal, Role
from fetchml.core.tracking import Point
from fetchml.engine.slow_reads import SlowReads
from fetchml.system.ids import IdSequence
from fetchml.tracking.tracking_service import Tracking

RUNS, METRICS, PARAMS = 10_000, 100, 20
ALL = RUNS * METRICS
START = 1_760_000_000_000
LONG = 1_000_000
"""Points of the long curve."""
CHARTS = 200
"""Curves of the run with many, of 5,000 points each."""
ASKED = 10
LOGGERS, BATCH, BATCHES = 10, 1_000, 40
TARGET_POINTS = 20_000
TARGET_SEARCH_MS = 300
TARGET_CURVE_MS = 200
TARGET_CHARTS_MS = 1_000
MEMORY = "1GiB"
WHO = Principal("bench", Role.USER, "key")


def run() -> Benchmark:
    with scratch_folder() as folder:
        yield asyncio.run(_logging(folder))
        data_dir = folder / "full"
        with fetchml(data_dir):
            pass  # It makes the database.
        with closing(connect_recovering(DatabaseFiles.below(data_dir), MEMORY)) as connection:
            _fill(connection)
        nothing = {"launcher": "docker", "docker_host": "unix:///nonexistent"}
        with fetchml(data_dir, **nothing) as server, Client(server.http) as client:
            yield from _reads(client)


def _reads(client: Client) -> Benchmark:
    where = "filter=metrics.m3 %3C 0.5 and params.p1 != 'x'&order_by=metrics.m7 DESC".replace(
        " ", "%20"
    )
    long, many = f"run_ids={_run_id(0)}&metrics=long", f"run_ids={_run_id(1)}&buckets=500"
    names = "&".join(f"metrics=chart{number}" for number in range(CHARTS))
    for claim, path, target in (
        ("the newest 50 runs", "/v1/runs", TARGET_SEARCH_MS),
        ("50 runs by a metric, with a filter", f"/v1/runs?{where}", TARGET_SEARCH_MS),
        (f"a curve of {LONG:,} points", f"/v1/curves?{long}&buckets=1000", TARGET_CURVE_MS),
        ("a part of it", f"/v1/curves?{long}&from=400000&to=500000", TARGET_CURVE_MS),
        (f"{CHARTS} curves of a run", f"/v1/curves?{many}&{names}", TARGET_CHARTS_MS),
    ):
        taken = [client.seconds("GET", path) * 1000 for _ in range(ASKED)]
        yield Figure(
            f"tracking: {claim}, {RUNS:,} runs with {METRICS} metrics each",
            "",
            f"{median(taken):.0f} ms (slowest {max(taken):.0f})",
            f"≤ {target} ms",
            median(taken) <= target,
        )


async def _logging(folder: Path) -> Figure:
    """Ten runs at a time, without a transport."""
    store = DuckDBStore(folder / "ours", time_zone=ZoneInfo("UTC"), min_free_bytes=0)
    (folder / "ours").mkdir()
    await store.open(recent_limit=1, on_fatal=_never)
    tracking = await Tracking.load(
        store,
        cast("Any", None),
        Audit(store, clock_ms=_now),
        SlowReads(),
        clock=_now,
        ids=IdSequence(),
        private=False,
    )
    runs = [(await tracking.create_run(WHO, "0")).id for _ in range(LOGGERS)]
    batches = [_batch(number) for number in range(BATCHES)]

    async def log(run_id: str) -> None:
        for batch in batches:
            await tracking.log(WHO, run_id, batch)

    began = perf_counter()
    await asyncio.gather(*map(log, runs))
    ours = LOGGERS * BATCHES * BATCH / (perf_counter() - began)
    await store.close()
    rows = [[(1, 1, each.step, each.at, each.value) for each in batch] for batch in batches]
    (folder / "bare").mkdir()
    bare = await asyncio.to_thread(_append, folder / "bare", rows * LOGGERS)
    return Figure(
        f"tracking: points a second, {LOGGERS} runs in batches of {BATCH:,}",
        "DuckDB appends the same rows",
        f"{ours:,.0f}/s, {ours / bare:.2f} of {bare:,.0f}/s",
        f"≥ {TARGET_POINTS:,}/s",
        ours >= TARGET_POINTS,
    )


def _batch(number: int) -> list[Point]:
    steps = range(number * BATCH // 10, (number + 1) * BATCH // 10)
    return [Point(f"m{k}", math.sin(step), 1_000 + step, step) for step in steps for k in range(10)]


def _append(folder: Path, batches: Sequence[Sequence[tuple[float, ...]]]) -> float:
    database = open_database(DatabaseFiles.below(folder), memory_limit=MEMORY)
    with closing(database), database.cursor().appender("points") as appender:
        began = perf_counter()
        for rows in batches:
            appender.append_rows(rows)
            appender.flush()
        return sum(map(len, batches)) / (perf_counter() - began)


def _fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Write what the server would have written; the points are not folded."""
    # A run a minute.
    connection.execute(
        f"CREATE TEMP MACRO run_id(i) AS printf('%012x70008000%012x', {START} + i * 60000, i)"
    )
    for statement, *numbers in (
        (
            """INSERT INTO runs SELECT run_id(i), '0', NULL, 'bench', 'run ' || i,
               'FINISHED', 1000000 + i, NULL, NULL, '' FROM range($1) t(i)""",
            RUNS,
        ),
        (
            """INSERT INTO params SELECT run_id(i), 'p' || k, random()::VARCHAR
               FROM range($1) t(i), range($2) u(k) ORDER BY ALL""",
            RUNS,
            PARAMS,
        ),
        (
            """INSERT INTO series (id, run_id, key) SELECT i * $2 + k, run_id(i), 'm' || k
               FROM range($1) t(i), range($2) u(k) ORDER BY ALL""",
            RUNS,
            METRICS,
        ),
        ("INSERT INTO points SELECT 1, i, 1, 1000000, random() FROM range($1) t(i)", ALL),
        (
            """INSERT INTO series (id, run_id, key)
               SELECT $1 + k, run_id(if(k = 0, 0, 1)),
                      if(k = 0, 'long', 'chart' || k - 1) FROM range($2) t(k)""",
            ALL,
            CHARTS + 1,
        ),
        (
            """INSERT INTO points SELECT 2, $1, i, 1000000 + i * 10, sin(i / 1000)
               FROM range($2) t(i)""",
            ALL,
            LONG,
        ),
        (
            """INSERT INTO points SELECT 3, $1 + 1 + k, i, 1000000 + i * 10, random()
               FROM range(5000) t(i), range($2) u(k)""",
            ALL,
            CHARTS,
        ),
    ):
        connection.execute(statement, numbers)


def _run_id(number: int) -> str:
    return f"{START + number * 60_000:012x}70008000{number:012x}"


def _now() -> int:
    return time.time_ns() // 1_000_000


def _never(error: Exception) -> None:
    raise AssertionError("the store failed") from error
