"""SQL of runs: how a write and a query for runs become statements. Curves are in `curves`.

The tables are in `schema`. Columns of many rows are lists, which `unnest` makes rows of.
"""

from collections.abc import Sequence
from typing import Any

from fetchml.core.tracking import Visibility
from fetchml.core.tracking_filters import (
    Attribute,
    Condition,
    Field,
    IsNull,
    OneOf,
    Op,
    Order,
    Source,
)
from fetchml.ports.tracking_store import RunQuery

RUN_COLUMNS = (
    "id, experiment_id, usr, name, status, started_at, task_id, ended_at, deleted_at, details"
)
"""In the order of the fields of `Run`."""
PUT_RUNS = f"""
    INSERT INTO runs ({RUN_COLUMNS})
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6),
           unnest($7::VARCHAR[]), unnest($8::BIGINT[]), unnest($9::BIGINT[]), unnest($10)
    ON CONFLICT DO UPDATE SET name = excluded.name, status = excluded.status,
                              started_at = excluded.started_at, ended_at = excluded.ended_at,
                              deleted_at = excluded.deleted_at, details = excluded.details
"""
PUT_PARAMS = """
    INSERT INTO params SELECT unnest($1), unnest($2), unnest($3) ON CONFLICT DO NOTHING
"""
PUT_TAGS = """
    INSERT INTO tags SELECT unnest($1), unnest($2), unnest($3)
    ON CONFLICT DO UPDATE SET value = excluded.value
"""
REMOVE_TAGS = """
    DELETE FROM tags WHERE (run_id, key) IN (SELECT (unnest($1), unnest($2)))
"""
PUT_SERIES = "INSERT INTO series (id, run_id, key) SELECT unnest($1), unnest($2), unnest($3)"

# Fold: the latest point of each series in (from, to], by step, time, value, moved into `series`.
FOLD_POINTS = """
    UPDATE series SET step = if(newer, latest.step, step), at_ms = if(newer, latest.at_ms, at_ms),
                      value = if(newer, latest.value, value), points = points + number
    FROM (SELECT id, number, latest, step IS NULL
                 OR latest > {'step': step, 'at_ms': at_ms, 'value': value} AS newer
          FROM (SELECT series AS id, count(*) AS number,
                       max({'step': step, 'at_ms': at_ms, 'value': value}) AS latest
                FROM points WHERE seq > $1 AND seq <= $2 GROUP BY series) JOIN series USING (id)
         ) AS new
    WHERE series.id = new.id
"""
FOLDED_POINTS = "UPDATE meta SET folded_points = $1"
READ_FOLDED_POINTS = "SELECT folded_points FROM meta"
UNFOLDED_POINTS = "SELECT coalesce(max(seq), $1), count(*) FROM points WHERE seq > $1"

# Removal of runs that were deleted long ago, and of what they leave behind. The rows of `series` go
# with their points, so that no id is used again while it has points.
REMOVE_RUNS = "DELETE FROM runs WHERE deleted_at < $1"
ORPHANED_SERIES = """
    SELECT id, points FROM series ANTI JOIN runs ON series.run_id = runs.id LIMIT $1
"""
REMOVE_POINTS = "DELETE FROM points WHERE series IN (SELECT unnest($1))"
REMOVE_SERIES = "DELETE FROM series WHERE id IN (SELECT unnest($1))"
REMOVE_ORPHANS = tuple(
    f"DELETE FROM {table} WHERE run_id NOT IN (SELECT id FROM runs)"  # noqa: S608 - our own text
    for table in ("params", "tags")
)

LAST_SERIES = "SELECT coalesce(max(id), 0) FROM series"
UNFINISHED = """
    SELECT task_id, id FROM runs
    WHERE task_id IS NOT NULL AND deleted_at IS NULL AND status IN ('RUNNING', 'SCHEDULED')
"""
TOTALS = """
    SELECT usr, count(*)::BIGINT, coalesce(sum(points), 0)::BIGINT,
           sum(length(details) + coalesce(characters, 0))::BIGINT
    FROM runs
    LEFT JOIN (SELECT run_id, sum(points) AS points FROM series GROUP BY run_id) AS s
        ON s.run_id = runs.id
    LEFT JOIN (SELECT run_id, sum(length(key) + length(value)) AS characters
               FROM (FROM params UNION ALL FROM tags) GROUP BY run_id) AS t
        ON t.run_id = runs.id
    WHERE deleted_at IS NULL GROUP BY usr
"""

GET_RUN = f"SELECT {RUN_COLUMNS} FROM runs WHERE id = $1"  # noqa: S608 - our own text
GET_RUNS = f"SELECT {RUN_COLUMNS} FROM runs WHERE id IN (SELECT unnest($1))"  # noqa: S608
# Rows of the runs $1, which lie between $2 and $3: only a part of the table is read if these runs
# are of about the same time, as those of a page are.
_OF_RUNS = "run_id >= $2 AND run_id <= $3 AND run_id IN (SELECT unnest($1))"
SIZES = f"""
    SELECT run_id, sum(size)::BIGINT FROM (
        SELECT run_id, 100 + length(key) AS size FROM series WHERE {_OF_RUNS}
        UNION ALL
        SELECT run_id, 100 + length(key) + length(value) FROM params WHERE {_OF_RUNS}
        UNION ALL
        SELECT run_id, 100 + length(key) + length(value) FROM tags WHERE {_OF_RUNS})
    GROUP BY run_id
"""  # noqa: S608 - our own text
HEADS = """
    SELECT id, run_id, key, step, at_ms, points FROM series
    WHERE run_id = $1 AND step IS NOT NULL
"""
STORED = """
    SELECT place FROM (SELECT unnest($1) AS series, unnest($2) AS step, unnest($3) AS at_ms,
                              unnest($4::DOUBLE[]) AS value, unnest($5) AS place) AS asked
    SEMI JOIN points ON points.series = asked.series AND points.step = asked.step
                    AND points.at_ms = asked.at_ms AND points.value = asked.value
"""
LATEST = f"""
    SELECT run_id, list(key ORDER BY key), list(value ORDER BY key), list(at_ms ORDER BY key),
           list(step ORDER BY key)
    FROM series WHERE {_OF_RUNS} AND step IS NOT NULL GROUP BY run_id
"""  # noqa: S608 - our own text
PARAMS, TAGS = (
    f"SELECT run_id, key, value FROM {table} WHERE {_OF_RUNS} ORDER BY ALL"  # noqa: S608
    for table in ("params", "tags")
)
SERIES_OF = "SELECT id FROM series WHERE run_id = $1 AND key = $2"
HISTORY = """
    SELECT step, at_ms, value FROM points WHERE series = $1
    ORDER BY step, at_ms, value LIMIT $2 OFFSET $3
"""

_ATTRIBUTES = {
    Attribute.RUN_ID: "runs.id",
    Attribute.RUN_NAME: "runs.name",
    Attribute.STATUS: "runs.status",
    Attribute.USER: "runs.usr",
    Attribute.EXPERIMENT_ID: "runs.experiment_id",
    Attribute.TASK_ID: "runs.task_id",
    Attribute.STARTED_AT: "runs.started_at",
    Attribute.ENDED_AT: "runs.ended_at",
}
_TABLES = {Source.METRIC: "series", Source.PARAM: "params", Source.TAG: "tags"}


class _Statement:
    """A query for runs while it is put together."""

    def __init__(self) -> None:
        self.parameters: list[Any] = []
        self.joins: list[str] = []
        self._joined: dict[Field, str] = {}

    def bind(self, value: object) -> str:
        self.parameters.append(value)
        return f"${len(self.parameters)}"

    def column(self, field: Field) -> str:
        """Return the expression of a field, and join the table that has it."""
        if field.source is Source.ATTRIBUTE:
            return _ATTRIBUTES[Attribute(field.name)]
        alias = self._joined.get(field)
        if alias is None:
            alias = self._joined[field] = f"f{len(self._joined)}"
            self.joins.append(
                f"LEFT JOIN (SELECT run_id, value FROM {_TABLES[field.source]} "  # noqa: S608
                f"WHERE key = {self.bind(field.name)}) AS {alias} ON {alias}.run_id = runs.id"
            )
        return f"{alias}.value"


def page_of_runs(query: RunQuery) -> tuple[str, list[Any]]:
    """Return the statement for (id, characters of details) of a page, in its order."""
    made = _Statement()
    where = [_condition(made, each) for each in query.conditions]
    if query.experiment_ids:
        where.append(f"experiment_id IN (SELECT unnest({made.bind(list(query.experiment_ids))}))")
    if query.run_ids:
        where.append(f"runs.id IN (SELECT unnest({made.bind(list(query.run_ids))}))")
    if query.task_id is not None:
        where.append(f"task_id = {made.bind(query.task_id)}")
    if query.user is not None:
        where.append(f"usr = {made.bind(query.user)}")
    if query.visibility is not Visibility.ALL:
        deleted = query.visibility is Visibility.DELETED
        where.append(f"deleted_at IS {'NOT ' if deleted else ''}NULL")
    order = [each for wanted in query.order for each in _order(made, wanted)]
    statement = f"""
        SELECT runs.id, length(details) FROM runs {" ".join(made.joins)}
        WHERE {" AND ".join(where) or "true"}
        ORDER BY {", ".join([*order, "started_at DESC", "runs.id"])}
        LIMIT {made.bind(query.limit)} OFFSET {made.bind(query.offset)}
    """  # noqa: S608 - our own text
    return statement, made.parameters


def _condition(made: _Statement, condition: Condition) -> str:
    column = made.column(condition.field)
    if isinstance(condition, IsNull):
        return f"{column} IS {'NOT ' if condition.negated else ''}NULL"
    if isinstance(condition, OneOf):
        is_one = f"{column} IN (SELECT unnest({made.bind(list(condition.values))}::VARCHAR[]))"
        return f"({column} IS NOT NULL AND NOT {is_one})" if condition.negated else is_one
    compared = f"{column} {condition.op.value} {made.bind(condition.value)}"
    # The database sorts what is not a number above all numbers.
    if condition.field.source is Source.METRIC and condition.op is not Op.NE:
        return f"({compared} AND NOT isnan({column}))"
    return compared


def _order(made: _Statement, order: Order) -> list[str]:
    column = made.column(order.field)
    direction = "DESC" if order.descending else "ASC"
    by = f"{column} {direction} NULLS LAST"
    if order.field.source is Source.METRIC:
        return [f"{column} IS NULL", f"isnan({column})", by]
    return [by]


def of_runs(run_ids: Sequence[str]) -> list[Any]:
    """Return the parameters of SIZES, LATEST, PARAMS and TAGS."""
    return [list(run_ids), min(run_ids, default=""), max(run_ids, default="")]


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
