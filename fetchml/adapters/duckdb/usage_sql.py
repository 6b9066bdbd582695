"""Every SQL statement on the history of use. The tables are in `schema`, the units in `core.usage`.

Samples are appended. Those of an hour are later replaced by a row of `task_hours` or `gpu_hours`
with averages and maxima; readers see both as one.
"""

from fetchml.core.usage import HOUR_MS

USAGE_UNTIL = "SELECT usage_until FROM meta"
SET_USAGE_UNTIL = "UPDATE meta SET usage_until = $1"
ADD_DAYS = """
    INSERT INTO user_days
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6)
    ON CONFLICT DO UPDATE SET gpu_ms = gpu_ms + excluded.gpu_ms,
                              cpu_ms = cpu_ms + excluded.cpu_ms,
                              completed = completed + excluded.completed,
                              failed = failed + excluded.failed
"""

# Tasks that were deleted by changes in (from, to].
DELETED = """
    SELECT DISTINCT task_id FROM journal
    WHERE seq > $1 AND seq <= $2 AND contains(data, '"hidden":true')
      AND coalesce((data->>'$.hidden')::BOOLEAN, false)
"""
OF_TASKS = ("task_usage", "task_hours", "gpu_holds")
FORGET = tuple(
    f"DELETE FROM {table} WHERE task_id IN (SELECT unnest($1))"  # noqa: S608 - our own text
    for table in OF_TASKS
)

SAMPLES = "SELECT (SELECT count(*) FROM task_usage) + (SELECT count(*) FROM gpu_usage)"
OLDEST_SAMPLE = """
    SELECT least((SELECT min(at_ms) FROM task_usage), (SELECT min(at_ms) FROM gpu_usage))
"""
SUM_UP = (
    # From the begin of an hour, $1, to its end, $2. Rounded, averages take less space.
    """
    INSERT INTO task_hours
    SELECT $1, task_id, attempt, count(*), round(avg(cpu), 1), max(cpu), round(avg(memory)),
           max(memory), round(avg(read)), max(read), round(avg(written)), max(written)
    FROM task_usage WHERE at_ms >= $1 AND at_ms < $2 GROUP BY task_id, attempt
    """,
    """
    INSERT INTO gpu_hours
    SELECT $1, uuid, count(*), round(avg(held::INTEGER), 3), round(avg(utilisation), 1),
           max(utilisation), round(avg(memory)), max(memory), round(avg(temperature), 1),
           max(temperature), round(avg(power)), max(power)
    FROM gpu_usage WHERE at_ms >= $1 AND at_ms < $2 GROUP BY uuid
    """,
)
SUMMED_UP = ("DELETE FROM task_usage WHERE at_ms < $1", "DELETE FROM gpu_usage WHERE at_ms < $1")


def prune(table: str, column: str) -> str:
    """Statement that keeps the newest $1 rows, and those from time $2 on."""
    return f"""
        DELETE FROM {table} WHERE {column} < greatest($2, coalesce(
            (SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET $1), 0))
    """  # noqa: S608 - our own text


PRUNE_DAYS = "DELETE FROM user_days WHERE day < $1"

_TASK_ROWS = f"""
    FROM (
        SELECT at_ms, at_ms + 1 AS until_ms, attempt, 1 AS samples, cpu, cpu AS cpu_max,
               memory, memory AS memory_max, read, read AS read_max,
               written, written AS written_max
        FROM task_usage WHERE task_id = $1 AND at_ms >= $2 AND at_ms < $3
        UNION ALL
        SELECT hour_ms, hour_ms + {HOUR_MS}, attempt, samples, cpu, cpu_max, memory, memory_max,
               read, read_max, written, written_max
        FROM task_hours WHERE task_id = $1 AND hour_ms > $2 - {HOUR_MS} AND hour_ms < $3
    ) WHERE $4 IS NULL OR attempt = $4
"""  # noqa: S608 - our own text
TASK_BOUNDS = f"SELECT min(at_ms), max(until_ms) {_TASK_ROWS}"
TASK_POINTS = f"""
    SELECT greatest(at_ms - $2, 0) // $5 AS bucket, max(attempt), sum(samples)::BIGINT,
           sum(cpu * samples) / sum(samples), max(cpu_max),
           sum(memory * samples) / sum(samples), max(memory_max),
           sum(read * samples) / sum(samples), max(read_max),
           sum(written * samples) / sum(samples), max(written_max)
    {_TASK_ROWS} GROUP BY bucket ORDER BY bucket
"""

GPU_UUIDS = f"""
    SELECT uuid FROM gpu_usage WHERE at_ms >= $1 AND at_ms < $2
    UNION
    SELECT uuid FROM gpu_hours WHERE hour_ms > $1 - {HOUR_MS} AND hour_ms < $2
    ORDER BY uuid
"""  # noqa: S608 - our own text


def _mean(column: str) -> str:
    """The average of the samples that have a value."""
    weight = f"sum(samples) FILTER ({column} IS NOT NULL)"
    return f"sum({column} * samples) / {weight}, max({column}_max)"


GPU_POINTS = f"""
    SELECT uuid, greatest(at_ms - $1, 0) // $3 AS bucket, sum(samples)::BIGINT,
           sum(held * samples) / sum(samples), {_mean("utilisation")}, {_mean("memory")},
           {_mean("temperature")}, {_mean("power")}
    FROM (
        SELECT at_ms, uuid, 1 AS samples, held::INTEGER AS held,
               utilisation, utilisation AS utilisation_max, memory, memory AS memory_max,
               temperature, temperature AS temperature_max, power, power AS power_max
        FROM gpu_usage WHERE at_ms >= $1 AND at_ms < $2
        UNION ALL
        SELECT hour_ms, uuid, samples, held, utilisation, utilisation_max, memory, memory_max,
               temperature, temperature_max, power, power_max
        FROM gpu_hours WHERE hour_ms > $1 - {HOUR_MS} AND hour_ms < $2
    ) GROUP BY uuid, bucket ORDER BY uuid, bucket
"""  # noqa: S608 - our own text

GPU_HOLDS = """
    SELECT uuid, task_id, usr, since_ms, until_ms FROM gpu_holds
    WHERE until_ms > $1 AND since_ms < $2 AND ($4 IS NULL OR usr = $4)
    ORDER BY since_ms DESC, uuid LIMIT $3
"""
DAYS = """
    SELECT day, usr, gpu_ms, cpu_ms, completed, failed FROM user_days
    WHERE day >= $1 AND day <= $2 AND ($4 IS NULL OR usr = $4)
    ORDER BY day DESC, usr LIMIT $3
"""
