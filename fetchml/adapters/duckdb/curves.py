"""Curves of metrics: whole, or reduced to buckets."""

import math
from collections.abc import Sequence
from typing import Any

import duckdb

from fetchml.core.tracking import (
    MAX_BUCKETS_OF_REQUEST,
    MAX_CURVES,
    MIN_BUCKETS,
    Axis,
    Curve,
    CurveQuery,
    Run,
)


def read_curves(
    cursor: duckdb.DuckDBPyConnection, runs: Sequence[Run], query: CurveQuery
) -> list[Curve]:
    """Return the curves in the order of the runs and metrics. One with more points than buckets is
    reduced to the least, greatest, mean and last value of each bucket."""
    starts = {each.id: each.started_at for each in runs}
    metrics = list(query.metrics)
    found = cursor.execute(_SERIES, [list(starts), not metrics, metrics, MAX_CURVES]).fetchall()
    if not found:
        return []
    origins = {series: starts[run_id] for series, run_id, _ in found}
    bounds = [query.start, query.end]
    extents = {
        series: extent
        for series, *extent in cursor.execute(
            _curve_extents(query), [*_asked(origins), *bounds]
        ).fetchall()
    }
    buckets = max(MIN_BUCKETS, min(query.buckets, MAX_BUCKETS_OF_REQUEST // len(found)))
    long = [series for series, (points, _, _) in extents.items() if points > buckets]
    short = {series: origins[series] for series in extents.keys() - long}
    columns = dict[int, tuple[bool, Sequence[Any]]]()
    if short:
        for series, x, values in cursor.execute(
            _whole_curves(query), [*_asked(short), *bounds]
        ).fetchall():
            columns[series] = True, _whole(x, values)
    if long:
        low, high = ([extents[series][place] for series in long] for place in (1, 2))
        least = 1.0 if query.axis is Axis.STEP else 0.001
        widths = [
            _width((last - first) / buckets, least) for first, last in zip(low, high, strict=True)
        ]
        asked = [*_asked({series: origins[series] for series in long}), *bounds]
        for series, *lists in cursor.execute(
            _curves_in_buckets(query), [*asked, low, high, widths]
        ).fetchall():
            columns[series] = False, lists
    place = {run_id: number for number, run_id in enumerate(starts)}
    wanted = {key: number for number, key in enumerate(metrics)}
    found.sort(key=lambda row: (place[row[1]], wanted.get(row[2], 0), row[2]))
    return [
        Curve(run_id, key, whole, *lists)
        for series, run_id, key in found
        if series in columns
        for whole, lists in (columns[series],)
    ]


def _asked(origins: dict[int, int]) -> list[list[int]]:
    return [list(origins.keys()), list(origins.values())]


def _width(least: float, smallest: float) -> float:
    """Return the power of two times `smallest` that is at least `least`: when a curve grows,
    buckets stay as they are until two and two become one."""
    return smallest * 2.0 ** max(0, math.ceil(math.log2(max(least, smallest) / smallest)))


def _whole(x: Sequence[float], values: Sequence[float]) -> Sequence[Sequence[Any]]:
    numbers = [value if math.isfinite(value) else 0.0 for value in values]
    count = [int(math.isfinite(value)) for value in values]
    return x, numbers, numbers, numbers, numbers, count, [1 - each for each in count]


_X = {
    Axis.STEP: "step::DOUBLE",
    Axis.TIME: "at_ms / 1000.0",
    Axis.RELATIVE: "(at_ms - origin) / 1000.0",
}

_SERIES = """
    SELECT id, run_id, key FROM series
    WHERE run_id IN (SELECT unnest($1)) AND ($2 OR key IN (SELECT unnest($3::VARCHAR[])))
      AND step IS NOT NULL
    ORDER BY key LIMIT $4
"""


def _points_of(query: CurveQuery, columns: str) -> str:
    """Points of the curves $1 (series, runs' starts $2), within the bounds $3 and $4."""
    return f"""
        SELECT points.series, {_X[query.axis]} AS x, at_ms, value {columns}
        FROM points JOIN asked ON points.series = asked.series
        WHERE ($3 IS NULL OR x >= $3) AND ($4 IS NULL OR x <= $4)
    """  # noqa: S608 - our own text


def _curve_extents(query: CurveQuery) -> str:
    """Return the statement for (series, points, smallest and largest x)."""
    return f"""
        WITH asked AS (SELECT unnest($1) AS series, unnest($2) AS origin)
        SELECT series, count(*), min(x), max(x) FROM ({_points_of(query, "")}) GROUP BY series
    """  # noqa: S608 - our own text


def _whole_curves(query: CurveQuery) -> str:
    """Return the statement for (series, list of x, list of values)."""
    return f"""
        WITH asked AS (SELECT unnest($1) AS series, unnest($2) AS origin)
        SELECT series, list(x ORDER BY x, at_ms), list(value ORDER BY x, at_ms)
        FROM ({_points_of(query, "")}) GROUP BY series
    """  # noqa: S608 - our own text


def _curves_in_buckets(query: CurveQuery) -> str:
    """Return the statement for (series, and a list for each column of a curve).

    $5: first x, $6: last x, $7: width of a bucket, of each series. The first and the last x are
    buckets of their own.
    """
    return f"""
        WITH asked AS (SELECT unnest($1) AS series, unnest($2) AS origin, unnest($5) AS lowest,
                              unnest($6) AS highest, unnest($7) AS width),
        buckets AS (
            SELECT series, min(x) AS x, min(number) AS low, max(number) AS high,
                   avg(number) AS mean, arg_max(number, x) AS last, count(number) AS numbers,
                   count(*) - count(number) AS others
            FROM (SELECT *, CASE WHEN isfinite(value) THEN value END AS number
                  FROM ({_points_of(query, ", lowest, highest, width")}))
            GROUP BY series, CASE WHEN x = lowest THEN '-infinity'::DOUBLE
                                  WHEN x = highest THEN 'infinity'::DOUBLE
                                  ELSE floor(x / width) END)
        SELECT series, list(x ORDER BY x), list(coalesce(low, 0) ORDER BY x),
               list(coalesce(high, 0) ORDER BY x), list(coalesce(mean, 0) ORDER BY x),
               list(coalesce(last, 0) ORDER BY x), list(numbers ORDER BY x),
               list(others ORDER BY x)
        FROM buckets GROUP BY series
    """  # noqa: S608 - our own text
