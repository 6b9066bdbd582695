"""What a query cannot do: each way out ends in an error of the caller, and nothing else happens."""

import asyncio
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from fetchml.core.model import Principal, Role
from fetchml.errors import Forbidden, RequestError, ValidationFailed
from fetchml.history import history_service
from fetchml.history.query_process import CONFIG
from tests.support.history_box import ANN, SECRET, HistoryBox, history_box, query_processes
from tests.support.waiting import soon, until_true

ONE_SELECT = "must be one SELECT statement"
NO_FILES = "reads the documented views only"
UNKNOWN = "unknown view"
ANY = ""
HOME = str(Path.home())
ENDLESS = (
    "SELECT count(*) FROM range(10000000000) a(i), range(100000) b(j) WHERE (i * 7 + j) % 9 = -1"
)

WAYS_OUT = {
    # Statements
    "SELECT 1; SELECT 2": ONE_SELECT,
    "": "must be a text",
    "-- nothing": ONE_SELECT,
    "INSERT INTO tasks SELECT * FROM tasks": ONE_SELECT,
    "UPDATE tasks SET user_id = 'ann'": ONE_SELECT,
    "DELETE FROM tasks": ONE_SELECT,
    "CREATE TABLE x AS SELECT 1": ONE_SELECT,
    "DROP VIEW tasks": ONE_SELECT,
    "COPY (SELECT 1) TO 'out.csv'": ONE_SELECT,
    "EXPORT DATABASE 'out'": ONE_SELECT,
    "IMPORT DATABASE 'out'": ONE_SELECT,
    "ATTACH 'x.duckdb'": ONE_SELECT,
    "DETACH memory": ONE_SELECT,
    "USE memory": ONE_SELECT,
    "SET memory_limit = '100GB'": ONE_SELECT,
    "SET enable_external_access = true": ONE_SELECT,
    "RESET lock_configuration": ONE_SELECT,
    "PRAGMA database_list": ONE_SELECT,
    "CALL pragma_version()": ONE_SELECT,
    "INSTALL httpfs": ONE_SELECT,
    "LOAD parquet": ONE_SELECT,
    "PREPARE q AS SELECT 1": ONE_SELECT,
    "EXECUTE q": ONE_SELECT,
    "BEGIN TRANSACTION": ONE_SELECT,
    "CHECKPOINT": ONE_SELECT,
    "EXPLAIN ANALYZE SELECT 1": ONE_SELECT,
    "CREATE SECRET s (TYPE s3)": ONE_SELECT,
    "SELECT 1) TO 'out.csv' (FORMAT csv); COPY (SELECT 2": "syntax error",
    "PIVOT tasks ON status": "PIVOT needs the list",
    # Files and the host
    "SELECT * FROM '/etc/passwd'": UNKNOWN,
    "SELECT * FROM 'tasks.parquet'": UNKNOWN,
    "SELECT * FROM read_text('/etc/passwd')": NO_FILES,
    "SELECT * FROM read_blob('/proc/self/environ')": NO_FILES,
    "SELECT * FROM read_csv('/etc/passwd')": NO_FILES,
    "SELECT * FROM read_json('/etc/passwd')": NO_FILES,
    "SELECT * FROM read_parquet('../../store/fetchml.duckdb')": NO_FILES,
    "SELECT * FROM parquet_metadata('/proc/self/fd/0')": NO_FILES,
    "SELECT * FROM sniff_csv('/etc/passwd')": NO_FILES,
    "SELECT * FROM glob('/**')": NO_FILES,
    "SELECT * FROM read_text('https://127.0.0.1/')": ANY,
    "SELECT * FROM read_text('s3://bucket/key')": ANY,
    "SELECT getenv('HOME')": "does not exist",
    "SELECT * FROM enable_logging(storage = 'file')": ANY,
    "SELECT * FROM arrow_scan(1, 2, 3)": ANY,
    "SELECT * FROM pandas_scan(1)": ANY,
    "SELECT * FROM python_map_function()": ANY,
    "SELECT * FROM connection": UNKNOWN,
    "SELECT * FROM statement": UNKNOWN,
    # Other names of tables
    "SELECT * FROM journal": UNKNOWN,
    "SELECT * FROM keys": UNKNOWN,
    "SELECT * FROM fetchml.keys": UNKNOWN,
    "SELECT * FROM query_table('documents')": UNKNOWN,
    "SELECT * FROM query('SELECT * FROM documents')": UNKNOWN,
    "SELECT * FROM tasks JOIN audit ON true": "Only admins",
    "SELECT * FROM (WITH a AS (SELECT * FROM \"AUDIT\") SELECT * FROM a)": "Only admins",
    # Faults
    "SELECT": "selection list",
    "SELECT no_such_column FROM tasks": "no_such_column",
    "SELECT 1 / 'a'": "Could not convert",
    f"SELECT {'(' * 2_000}1{')' * 2_000}": ANY,
    f"SELECT '{'x' * 20_000}'": "at most 20000 characters",
    "SELECT '\0'": "NUL",
    "SELECT '\ud800'": "Unicode",
    "SELECT INTERVAL 178956970 YEARS": "interval",
    # Memory
    "SELECT list(repeat('x', 1000000) || i) FROM range(10000) t(i)": "MiB of memory",
    "SELECT len(string_agg(repeat('x', 1000000), '')) FROM range(100000)": "MiB of memory",
    "SELECT * FROM range(100000000) a(i), range(100000000) b(j) ORDER BY i * j % 17, j": "memory",
}  # fmt: skip


async def refusal(box: HistoryBox, sql: str, who: Principal = ANN) -> RequestError:
    with pytest.raises((ValidationFailed, Forbidden)) as refused:
        await box.rows(sql, who)
    return refused.value


@pytest.mark.slow
async def test_every_way_out_is_an_error_of_the_caller(tmp_path: Path) -> None:
    async with history_box(tmp_path / "data", private=True) as box:
        users = asyncio.Queue[Principal]()
        for name in ("x", "y"):
            users.put_nowait(Principal(name, Role.USER, name))

        async def tried(sql: str, expected: str) -> None:
            who = await users.get()
            try:
                error = await refusal(box, sql, who)
            finally:
                users.put_nowait(who)
            assert expected in error.message, (sql[:200], error.message)
            for leak in (str(tmp_path), HOME, "/proc", SECRET):
                assert leak not in error.message or leak in sql, (sql, error.message)

        async with asyncio.TaskGroup() as group:
            for sql, expected in WAYS_OUT.items():
                group.create_task(tried(sql, expected))
        assert not list(box.folder.iterdir())
        assert not query_processes(os.getpid())
        assert await box.value("SELECT count(*) FROM tasks", ANN) == 1


async def test_a_query_sees_nothing_of_the_host_but_the_data_directory(tmp_path: Path) -> None:
    async with history_box(tmp_path / "data", private=True) as box:
        settings = "SELECT list(value) FROM duckdb_settings() WHERE name NOT LIKE 'allowed_%'"
        views = "SELECT list(sql) FROM duckdb_views(), (SELECT count(*) FROM tasks)"
        databases = "SELECT list(d::VARCHAR) FROM duckdb_databases() AS d"
        for sql in (settings, views, databases):
            shown = str(await box.value(sql, ANN))
            for leak in (str(tmp_path), f"{HOME}/", "bob", SECRET):
                assert leak not in shown
        locked = "SELECT current_setting('lock_configuration'), current_setting('threads')"
        assert await box.rows(locked, ANN) == [[True, CONFIG["threads"]]]


async def test_recursion_ends_at_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_service, "SECONDS", 1)
    async with history_box(tmp_path / "data") as box:
        for endless in (
            ENDLESS,
            "WITH RECURSIVE a(i) AS (SELECT 1 UNION ALL SELECT -i FROM a) SELECT sum(i) FROM a",
            "SELECT repeat('x', 1000000000) LIKE '%y%'",
        ):
            message = (await refusal(box, endless)).message
            assert "takes longer than" in message or (
                endless != ENDLESS and "MiB of memory" in message
            )
            assert not query_processes(os.getpid())
            assert not list(box.folder.iterdir())


@pytest.mark.slow
async def test_large_results_are_cut_or_refused(tmp_path: Path) -> None:
    async with history_box(tmp_path / "data") as box:
        sql = "SELECT i FROM range(1000000) t(i) ORDER BY i"
        result = await box.history.rows(ANN, {"sql": sql})
        assert (len(result.rows), result.cut) == (10_000, True)
        assert result.rows[-1] == [9_999]
        wide = await box.history.rows(ANN, {"sql": "SELECT repeat('é', 100000) FROM range(1000)"})
        assert wide.cut
        assert 30 < len(wide.rows) < 50
        with pytest.raises(ValidationFailed, match="larger than 256 MiB"):
            await box.history.file(
                ANN, "SELECT uuid() AS a, uuid() AS b FROM range(20000000)", "parquet"
            )
        assert not list(box.folder.iterdir())


async def test_a_cancelled_query_leaves_nothing(tmp_path: Path) -> None:
    async with history_box(tmp_path / "data") as box:
        running = asyncio.ensure_future(box.rows(ENDLESS, ANN))
        waiting = asyncio.ensure_future(box.rows("SELECT 1", ANN))
        await until_true(lambda: query_processes(os.getpid()))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(running)
        assert await soon(waiting) == [[1]]
        assert not query_processes(os.getpid())
        assert not list(box.folder.iterdir())


VALUES: list[Any] = [
    *(None, True, False, 0, -1, (1 << 63) - 1, -(1 << 63), 1 << 63, (1 << 100) + 1, -(1 << 100)),
    *(0.1, -0.0, 1e308, 5e-324, math.nan, math.inf, -math.inf),
    *("", "'", '"', "\\", "\n\r\t", "\x01\x7f\u202e", "é😀\U0010ffff", "a" * 1_000, "; -- /*"),
]


async def test_every_value_arrives_as_it_is(tmp_path: Path) -> None:
    async with history_box(tmp_path / "data") as box:
        [row] = await box.rows(f"SELECT {', '.join(map(literal, VALUES))}")
    # Equal texts: NaN is not equal to itself, and 0 is equal to False.
    assert repr(row) == repr([*map(shown, VALUES)])


def literal(value: Any) -> str:
    if isinstance(value, float):
        return f"'{value!r}'::DOUBLE"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"'{value}'::HUGEINT"
    return json.dumps(value)


def shown(value: Any) -> Any:
    if isinstance(value, int) and abs(value) >= 1 << 63 and value != -(1 << 63):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value
