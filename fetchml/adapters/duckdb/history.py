# ruff: noqa: S608  # the statements are our own text
"""Views of `core.sql_views` in DuckDB, and their export to Parquet files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from fetchml.adapters.duckdb.points_fold import PointsFold
from fetchml.adapters.duckdb.readers import Readers, snapshot
from fetchml.core.sql_views import BY_NAME
from fetchml.core.usage import HOUR_MS, SAMPLE_MS
from fetchml.ports.history_store import BEFORE, CHANGES, RecordedPeriod

ROW_GROUP = 20_480
"""Rows that an export holds in memory."""
MAX_TEXT = 2_000
"""Characters of texts that may be long."""
_OF_POINTS = frozenset({"metrics", "points"})
_SEEN = "NOT hidden AND ($owner IS NULL OR usr = $owner)"
_OF_TASK = f"task_id IN (SELECT id FROM tasks WHERE {_SEEN})"
_STRUCT_OF_ATTEMPTS = """[{"number": "INTEGER", "cause": "VARCHAR", "exited_at": "BIGINT",
    "begun_at": "BIGINT", "allocated_at": "BIGINT", "started_at": "BIGINT", "worker_id": "VARCHAR",
    "failure_reason": "VARCHAR", "exit_code": "INTEGER", "error": "VARCHAR"}]"""


class _Data:
    """Expressions of what a task's JSON has. All paths are found in one pass, as the list `x`."""

    def __init__(self) -> None:
        self._paths = list[str]()

    def text(self, path: str) -> str:
        if path not in self._paths:
            self._paths.append(path)
        return f"x[{self._paths.index(path) + 1}]"

    def cut(self, path: str) -> str:
        return f"left({self.text(path)}, {MAX_TEXT})"

    def number(self, path: str, default: int | None = None) -> str:
        value = f"{self.text(path)}::INTEGER"
        return value if default is None else f"coalesce({value}, {default})"

    def ms(self, path: str) -> str:
        return f"{self.text(path)}::BIGINT"

    def time(self, path: str) -> str:
        return f"epoch_ms({self.ms(path)})"

    def texts(self, path: str) -> str:
        return f"""coalesce(from_json({self.text(path)}, '["VARCHAR"]'), [])"""

    def map(self, path: str) -> str:
        return f"coalesce({self.text(path)}::JSON::MAP(VARCHAR, VARCHAR), MAP {{}})"

    def status(self, status: str) -> str:
        """As clients see it: `Task.shown_status`."""
        ahead = f"coalesce({self.text('ahead')}::BOOLEAN, false)"
        return f"CASE WHEN {status} = 'preparing' AND {ahead} THEN 'queued' ELSE {status} END"

    @property
    def extracted(self) -> str:
        listed = ", ".join(f"'$.{path}'" for path in self._paths)
        return f"json_extract_string(data, [{listed}]) AS x"


def _tasks() -> str:
    data = _Data()
    started, exited = data.ms("started_at"), data.ms("end.at")
    attempts = f"""from_json({data.text("earlier_attempts")}, '[{{"started_at": "BIGINT"}}]')"""
    first = f"coalesce(list_min(list_transform({attempts}, lambda each: each.started_at)), started)"
    columns = f"""
        id, usr, job_name, {data.status("status")}, epoch_ms(created_at),
        epoch_ms(first_started), epoch_ms(started), epoch_ms(ended_at),
        (first_started - created_at) / 1000, (exited - started) / 1000,
        {data.number("spec.priority", 5)}, {data.number("attempt", 0)},
        {data.number("retry_count", 0)}, {data.number("infra_retries", 0)},
        {data.number("preempted", 0)}, {data.text("failure_reason")}, {data.number("exit_code")},
        {data.cut("error")}, {data.text("spec.image")},
        left(array_to_string({data.texts("spec.command")}, ' '), {MAX_TEXT}),
        {data.cut("spec.args")}, {data.number("spec.cpu")}, {data.number("spec.memory_gb")},
        {data.number("spec.gpu")}, {data.texts("gpu_uuids")}, {data.text("worker_id")},
        experiment_id, sweep_id, {data.number("spec.sweep.index")},
        {data.map("spec.sweep.parameters")}, {data.map("spec.metadata")},
        {data.text("spec.snapshot_id")}, coalesce({data.ms("spec.timeout_seconds")}, 0),
        outputs_bytes, logs_bytes
    """
    return f"""
        SELECT {columns}
        FROM (SELECT *, {started} AS started, {exited} AS exited, {first} AS first_started
              FROM (SELECT * EXCLUDE (data), {data.extracted} FROM tasks
                    WHERE {_SEEN} AND NOT service))
    """


def _attempts() -> str:
    data = _Data()
    earlier = f"from_json({data.text('earlier_attempts')}, '{_STRUCT_OF_ATTEMPTS}')"
    last = f"""
        {{number: {data.number("attempt")}, cause: {data.status("status")},
          exited_at: {data.ms("end.at")}, begun_at: {data.ms("begun_at")},
          allocated_at: {data.ms("given_at")}, started_at: {data.ms("started_at")},
          worker_id: {data.text("worker_id")}, failure_reason: {data.text("failure_reason")},
          exit_code: {data.number("exit_code")}, error: {data.text("error")}}}
    """
    # A task that waits for its next attempt has the last one among the earlier ones.
    ran = f"""
        {data.number("attempt", 0)} > 0 AND status <> 'queued'
        AND NOT coalesce(list_contains(list_transform({earlier}, lambda each: each.number),
                                       {data.number("attempt")}), false)
    """
    return f"""
        SELECT id, usr, each.number, each.cause, epoch_ms(each.begun_at),
               epoch_ms(each.allocated_at), epoch_ms(each.started_at), epoch_ms(each.exited_at),
               (each.exited_at - each.started_at) / 1000, each.worker_id, each.failure_reason,
               each.exit_code, nullif(left(each.error, {MAX_TEXT}), '')
        FROM (SELECT id, usr, unnest(list_concat(coalesce({earlier}, []),
                                                 CASE WHEN {ran} THEN [{last}] ELSE [] END)) AS each
              FROM (SELECT id, usr, status, {data.extracted} FROM tasks
                    WHERE {_SEEN} AND NOT service))
    """


def _events() -> str:
    data = _Data()
    columns = f"""
        seq, epoch_ms(at_ms), task_id, {data.text("user")},
        {data.status(f"coalesce({data.text('status')}, 'queued')")},
        {data.number("attempt", 0)}, {data.number("retry_count", 0)},
        {data.number("spec.priority", 5)}, {data.text("worker_id")}, {data.texts("gpu_uuids")},
        {data.cut("progress")}, {data.text("failure_reason")}, {data.cut("error")}
    """
    return f"""
        SELECT {columns}
        FROM (SELECT seq, at_ms, task_id, {data.extracted} FROM journal
              WHERE {_OF_TASK} AND task_id NOT IN (SELECT id FROM tasks WHERE service))
    """


def _average(column: str, scale: str = "") -> str:
    """The average of the samples that have a value, and the highest value, in the view's unit."""
    weight = f"sum(samples) FILTER ({column} IS NOT NULL)"
    return f"sum({column} * samples) / {weight} {scale}, max({column}_max) {scale}"


_HOUR = f"at_ms - at_ms % {HOUR_MS}"
_USAGE = f"""
    SELECT epoch_ms(hour_ms), task_id, usr, attempt, sum(samples), {_average("cpu", "/ 100")},
           {_average("memory", "/ 16")}, {_average("read", "/ 1024")},
           {_average("written", "/ 1024")}
    FROM (SELECT {_HOUR} AS hour_ms, task_id, attempt, 1 AS samples, cpu, cpu AS cpu_max,
                 memory, memory AS memory_max, read, read AS read_max, written,
                 written AS written_max
          FROM task_usage
          UNION ALL FROM task_hours)
    JOIN (SELECT id AS task_id, usr FROM tasks WHERE {_SEEN}) USING (task_id)
    GROUP BY hour_ms, task_id, usr, attempt
"""
_GPUS = f"""
    SELECT hour_ms, uuid, sum(samples) AS samples, sum(held * samples) / sum(samples) * 100 AS held,
           {_average("utilisation")}, {_average("memory")}, {_average("temperature")},
           {_average("power")}
    FROM (SELECT {_HOUR} AS hour_ms, uuid, 1 AS samples, held::INTEGER AS held,
                 utilisation, utilisation AS utilisation_max, memory, memory AS memory_max,
                 temperature, temperature AS temperature_max, power, power AS power_max
          FROM gpu_usage
          UNION ALL FROM gpu_hours)
    GROUP BY hour_ms, uuid
"""
_GPU_COLUMNS = """(hour_ms, uuid, samples, held, utilisation, utilisation_max, memory, memory_max,
                   temperature, temperature_max, power, power_max)"""
# Each time is cut at every begin and end of a hold of the GPU, and at every full hour; a part of it
# belongs to all that held the GPU then, in equal shares. Tasks that hold GPUs now are not in
# `gpu_holds` yet.
_GPU_HOURS = f"""
    WITH gpus{_GPU_COLUMNS} AS ({_GPUS}),
    holds AS (
        SELECT uuid, task_id, since_ms, until_ms FROM gpu_holds
        UNION
        SELECT unnest(from_json(x[1], '["VARCHAR"]')), id, x[2]::BIGINT, $now
        FROM (SELECT id, json_extract_string(data, ['$.gpu_uuids', '$.given_at', '$.ahead']) AS x
              FROM tasks WHERE status IN ('preparing', 'running', 'collecting'))
        WHERE x[1] IS NOT NULL AND x[2] IS NOT NULL AND x[3] IS NULL),
    cuts AS (
        SELECT uuid, since_ms AS moment FROM holds
        UNION SELECT uuid, until_ms FROM holds
        UNION SELECT uuid, unnest(range(since_ms - since_ms % {HOUR_MS} + {HOUR_MS}, until_ms,
                                        {HOUR_MS})) FROM holds),
    parts AS (SELECT uuid, moment AS since,
                     lead(moment) OVER (PARTITION BY uuid ORDER BY moment) AS until FROM cuts),
    shares AS (
        SELECT parts.uuid, task_id, since - since % {HOUR_MS} AS hour_ms,
               (until - since) / count(*) OVER (PARTITION BY parts.uuid, since) / {HOUR_MS} AS hours
        FROM parts JOIN holds ON parts.uuid = holds.uuid
                             AND since >= since_ms AND since < until_ms
        WHERE until > since)
    SELECT epoch_ms(hour_ms), uuid, task_id, usr, experiment_id, sum(hours),
           sum(hours) * any_value(power) / 1000, any_value(utilisation)
    FROM shares JOIN (SELECT id AS task_id, usr, experiment_id FROM tasks WHERE {_SEEN})
                USING (task_id)
                LEFT JOIN gpus USING (hour_ms, uuid)
    GROUP BY hour_ms, uuid, task_id, usr, experiment_id
"""
_SEEN_RUNS = "SELECT id FROM runs WHERE deleted_at IS NULL AND ($owner IS NULL OR usr = $owner)"
_OF_RUN = f"run_id IN ({_SEEN_RUNS})"
_EXPERIMENT_PATHS = "['$.id', '$.user', '$.name', '$.status', '$.created_at']"

STATEMENTS = {
    "tasks": _tasks(),
    "attempts": _attempts(),
    "events": _events(),
    "experiments": f"""
        SELECT x[1], x[2], x[3], coalesce(x[4], 'active'), epoch_ms(x[5]::BIGINT)
        FROM (SELECT json_extract_string(decode(data), {_EXPERIMENT_PATHS}) AS x
              FROM documents WHERE kind = 'experiment')
        WHERE $owner IS NULL OR x[2] = $owner
    """,
    "usage": _USAGE,
    "user_days": """
        SELECT day::DATE, usr, gpu_ms / 3600000, cpu_ms / 3600000, completed, failed FROM user_days
        WHERE $owner IS NULL OR usr = $owner
    """,
    "gpu_hours": _GPU_HOURS,
    "gpus": f"""
        SELECT epoch_ms(hour_ms), * EXCLUDE (hour_ms),
               power * samples * {SAMPLE_MS} / {HOUR_MS} / 1000
        FROM ({_GPUS}) AS gpus{_GPU_COLUMNS}
    """,
    "runs": f"""
        SELECT id, experiment_id, task_id, usr, name, lower(status), epoch_ms(started_at),
               epoch_ms(ended_at)
        FROM runs WHERE id IN ({_SEEN_RUNS})
    """,
    "metrics": f"""
        SELECT run_id, key, step, epoch_ms(at_ms), value, points FROM series WHERE {_OF_RUN}
    """,
    "points": f"""
        SELECT run_id, key, points.step, epoch_ms(points.at_ms), points.value
        FROM points JOIN series ON points.series = series.id WHERE {_OF_RUN}
    """,
    "params": f"SELECT run_id, key, value FROM params WHERE {_OF_RUN}",
    "tags": f"SELECT run_id, key, value FROM tags WHERE {_OF_RUN}",
    "audit": """
        SELECT id, epoch_ms(at_ms), action, usr, key_id, address, target, outcome, detail FROM audit
        UNION ALL
        SELECT id, epoch_ms(created_at), 'task.create', usr, x[1], coalesce(x[2], ''), id, 'OK',
               NULL
        FROM (SELECT id, created_at, usr,
                     json_extract_string(data, ['$.sender.key_id', '$.sender.address']) AS x
              FROM tasks WHERE NOT service)
    """,
}
"""The columns of each view, in its order; `$owner` is the user whose rows it has, `NULL` for all,
and `$now` the time in milliseconds."""


LATELY_MS = 7 * 86_400_000
"""Age of ended tasks that still count for a period after them: for fair shares."""
MOST_BEFORE = 20_000
"""Ended tasks of that age, at most: the newest."""
_FIRST_CHANGE = "SELECT coalesce(min(seq), 1), coalesce(min(at_ms), 0) FROM journal"
_CHANGES = "SELECT seq, at_ms, data FROM journal WHERE at_ms > $since ORDER BY seq"
_BEFORE = f"""
    WITH old AS (SELECT task_id, arg_max(data, seq) AS data FROM journal
                 WHERE at_ms <= $since GROUP BY task_id)
    SELECT data FROM old
    UNION ALL
    SELECT data FROM tasks WHERE status NOT IN ('completed', 'failed') AND created_at <= $since
                                 AND id NOT IN (SELECT task_id FROM journal)
    UNION ALL
    (SELECT data FROM tasks WHERE ended_at <= $since AND ended_at > $since - {LATELY_MS}
                                  AND id NOT IN (SELECT task_id FROM old)
     ORDER BY ended_at DESC LIMIT {MOST_BEFORE})
"""


class HistoryTables:
    """Implements `ports.history_store.HistoryStore`."""

    def __init__(
        self, readers: Readers, fold: PointsFold, folder: Path, now_ms: Callable[[], int]
    ) -> None:
        self._readers = readers
        self._fold = fold
        self.folder = folder
        self._now_ms = now_ms

    async def export(self, views: Sequence[str], folder: Path, owner: str | None) -> None:
        def read(cursor: duckdb.DuckDBPyConnection) -> None:
            with snapshot(cursor):
                for view in views:
                    _export(cursor, view, folder / view, {"owner": owner, "now": self._now_ms()})

        if _OF_POINTS.intersection(views):
            await self._readers.read(lambda _: None, after=self._fold.wait)
        await self._readers.read(read, folded=True, slow=True)

    async def export_period(self, since: int, folder: Path) -> RecordedPeriod:
        def read(cursor: duckdb.DuckDBPyConnection) -> RecordedPeriod:
            with snapshot(cursor):
                [(first_seq, first_at)] = cursor.execute(_FIRST_CHANGE).fetchall()
                begin = max(since, first_at - 1)
                _copy(cursor, _BEFORE, folder / BEFORE, {"since": begin})
                _copy(cursor, _CHANGES, folder / CHANGES, {"since": begin})
            return RecordedPeriod(begin, is_cut=begin > since and first_seq > 1)

        return await self._readers.read(read, folded=True, slow=True)


def _export(
    cursor: duckdb.DuckDBPyConnection, view: str, file: Path, values: dict[str, object]
) -> None:
    columns = BY_NAME[view].columns
    names = ", ".join(f"c{number}" for number in range(len(columns)))
    typed = ", ".join(
        f"c{number}::{column.type} AS {column.name}" for number, column in enumerate(columns)
    )
    statement = STATEMENTS[view]
    _copy(
        cursor,
        f"SELECT {typed} FROM ({statement}) AS view({names})",
        file,
        {name: value for name, value in values.items() if f"${name}" in statement},
    )


def _copy(
    cursor: duckdb.DuckDBPyConnection, query: str, file: Path, values: dict[str, object]
) -> None:
    quoted = str(file).replace("'", "''")
    cursor.execute(
        f"COPY ({query}) "
        f"TO '{quoted}' (FORMAT parquet, ROW_GROUP_SIZE {ROW_GROUP}, USE_TMP_FILE false)",
        values,
    )
