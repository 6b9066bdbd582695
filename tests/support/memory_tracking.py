"""Runs in memory. `tests/adapters/duckdb/test_tracking.py` compares DuckDB with it."""

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from fetchml.core.tracking import (
    Axis,
    Curve,
    CurveQuery,
    Point,
    Run,
    RunStatus,
    RunView,
    Visibility,
)
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
from fetchml.ports.tracking_store import (
    FoundRuns,
    RunQuery,
    Series,
    SeriesHead,
    StoredRun,
    TrackingWrite,
    UserTotal,
)

Value = str | float | int | None


@dataclass
class Kept:
    run: Run
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)

    def value(self, of: Field, latest: dict[str, Point]) -> Value:
        match of.source:
            case Source.METRIC:
                return latest[of.name].value if of.name in latest else None
            case Source.PARAM:
                return self.params.get(of.name)
            case Source.TAG:
                return self.tags.get(of.name)
            case Source.ATTRIBUTE:
                names = {Attribute.RUN_ID: "id", Attribute.RUN_NAME: "name"}
                value: Value = getattr(self.run, names.get(Attribute(of.name), of.name))
                return value


class MemoryTracking:
    """Curves come whole: it has no buckets."""

    def __init__(self) -> None:
        self._runs: dict[str, Kept] = {}
        self._points: dict[int, list[tuple[int, int, float]]] = {}

    def write(self, write: TrackingWrite) -> asyncio.Future[None]:
        for run in write.runs:
            kept = self._runs.setdefault(run.id, Kept(run))
            kept.run = run
        for run_id, key, value in write.params:
            self._runs[run_id].params.setdefault(key, value)
        for run_id, key in write.removed_tags:
            self._runs[run_id].tags.pop(key, None)
        for run_id, key, value in write.tags:
            self._runs[run_id].tags[key] = value
        for series in write.series:
            self._runs[series.run_id].series[series.key] = series
        for number, *point in write.points:
            self._points.setdefault(int(number), []).append(
                (int(point[0]), int(point[1]), point[2])
            )
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def last_series(self) -> int:
        found = [each.id for kept in self._runs.values() for each in kept.series.values()]
        return max(found, default=0)

    async def unfinished(self) -> list[tuple[str, str]]:
        return [
            (kept.run.task_id, kept.run.id)
            for kept in self._runs.values()
            if kept.run.task_id is not None
            and kept.run.deleted_at is None
            and kept.run.status in (RunStatus.RUNNING, RunStatus.SCHEDULED)
        ]

    async def totals(self) -> dict[str, UserTotal]:
        totals: dict[str, UserTotal] = {}
        for kept in self._runs.values():
            if kept.run.deleted_at is None:
                old = totals.get(kept.run.user, UserTotal())
                texts = [*kept.params.items(), *kept.tags.items()]
                totals[kept.run.user] = UserTotal(
                    old.runs + 1,
                    old.points + sum(len(self._sorted(each)) for each in kept.series.values()),
                    old.characters
                    + len(kept.run.details)
                    + sum(len(key) + len(value) for key, value in texts),
                )
        return totals

    async def get(self, run_id: str) -> RunView | None:
        kept = self._runs.get(run_id)
        return None if kept is None else self._view(kept)

    async def load(self, run_id: str) -> StoredRun | None:
        kept = self._runs.get(run_id)
        if kept is None:
            return None
        heads = [
            SeriesHead(each, *points[-1][:2], len(points))
            for each in kept.series.values()
            if (points := self._sorted(each))
        ]
        return StoredRun(kept.run, heads, dict(kept.params), dict(kept.tags))

    async def stored(self, points: Sequence[tuple[int, int, int, float]]) -> set[int]:
        return {
            place
            for place, (series, *point) in enumerate(points)
            if any(_same(point, each) for each in self._points.get(series, ()))
        }

    async def search(self, query: RunQuery) -> FoundRuns:
        found = [kept for kept in self._runs.values() if self._matches(kept, query)]
        found.sort(key=lambda kept: (-kept.run.started_at, kept.run.id))
        for order in reversed(query.order):
            found = self._ordered(found, order)
        page = found[query.offset : query.offset + query.limit]
        return FoundRuns([self._view(kept) for kept in page])

    async def runs(self, run_ids: Sequence[str]) -> list[Run]:
        return [self._runs[run_id].run for run_id in run_ids if run_id in self._runs]

    async def history(self, run_id: str, key: str, *, limit: int, offset: int) -> list[Point]:
        kept = self._runs.get(run_id)
        series = kept.series.get(key) if kept else None
        points = self._sorted(series) if series else []
        return [Point(key, value, at, step) for step, at, value in points][offset : offset + limit]

    async def curves(self, runs: Sequence[Run], query: CurveQuery) -> list[Curve]:
        curves = []
        for run in runs:
            series = self._runs[run.id].series
            for key in query.metrics or sorted(series):
                placed = sorted(
                    (x, at, value)
                    for step, at, value in (self._sorted(series[key]) if key in series else ())
                    for x in (_x(query.axis, step, at, run),)
                    if query.start is None or x >= query.start
                    if query.end is None or x <= query.end
                )
                if placed:
                    finite = [math.isfinite(value) for _, _, value in placed]
                    values = [v if math.isfinite(v) else 0.0 for _, _, v in placed]
                    count = [int(each) for each in finite]
                    others = [1 - each for each in count]
                    x = [x for x, _, _ in placed]
                    curves.append(
                        Curve(run.id, key, True, x, values, values, values, values, count, others)
                    )
        return curves

    def _sorted(self, series: Series) -> list[tuple[int, int, float]]:
        points = self._points.get(series.id, [])
        return sorted(points, key=lambda p: (p[0], p[1], math.isnan(p[2]), p[2]))

    def _latest(self, kept: Kept) -> dict[str, Point]:
        return {
            key: Point(key, points[-1][2], points[-1][1], points[-1][0])
            for key, series in sorted(kept.series.items())
            if (points := self._sorted(series))
        }

    def _view(self, kept: Kept) -> RunView:
        latest = tuple(self._latest(kept).values())
        params, tags = (dict(sorted(each.items())) for each in (kept.params, kept.tags))
        return RunView(kept.run, latest, params, tags)

    def _matches(self, kept: Kept, query: RunQuery) -> bool:
        run = kept.run
        latest = self._latest(kept)
        shown = {
            Visibility.ALL: True,
            Visibility.ACTIVE: run.deleted_at is None,
            Visibility.DELETED: run.deleted_at is not None,
        }[query.visibility]
        return (
            shown
            and (not query.experiment_ids or run.experiment_id in query.experiment_ids)
            and (not query.run_ids or run.id in query.run_ids)
            and query.task_id in (None, run.task_id)
            and query.user in (None, run.user)
            and all(_holds(each, kept.value(each.field, latest)) for each in query.conditions)
        )

    def _ordered(self, found: list[Kept], order: Order) -> list[Kept]:
        def group(value: Value) -> int:
            return 2 if value is None else int(isinstance(value, float) and math.isnan(value))

        valued = [(kept.value(order.field, self._latest(kept)), kept) for kept in found]
        valued.sort(key=lambda pair: group(pair[0]))
        result = list[Kept]()
        for number, pairs in groupby(valued, key=lambda pair: group(pair[0])):
            members = list(pairs)
            if number == 0:
                members.sort(key=itemgetter(0), reverse=order.descending)
            result += [kept for _, kept in members]
        return result


def _x(axis: Axis, step: int, at: int, run: Run) -> float:
    match axis:
        case Axis.STEP:
            return float(step)
        case Axis.TIME:
            return at / 1000
        case Axis.RELATIVE:
            return (at - run.started_at) / 1000


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    same_value = one[2] == other[2] or (math.isnan(one[2]) and math.isnan(other[2]))
    return same_value and list(one[:2]) == list(other[:2])


def _holds(condition: Condition, value: Value) -> bool:
    if isinstance(condition, IsNull):
        return (value is None) is not condition.negated
    if value is None:
        return False
    if isinstance(condition, OneOf):
        return (value in condition.values) is not condition.negated
    wanted = condition.value
    if condition.op in (Op.LIKE, Op.ILIKE):
        pattern = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in str(wanted))
        flags = re.DOTALL | (re.IGNORECASE if condition.op is Op.ILIKE else 0)
        return re.fullmatch(pattern, str(value), flags) is not None
    if isinstance(value, str) or isinstance(wanted, str):
        value, wanted = str(value), str(wanted)
        order = (value > wanted) - (value < wanted)
    elif math.isnan(value):
        return condition.op is Op.NE
    else:
        order = (value > wanted) - (value < wanted)
    return {
        Op.EQ: order == 0,
        Op.NE: order != 0,
        Op.LT: order < 0,
        Op.LE: order <= 0,
        Op.GT: order > 0,
        Op.GE: order >= 0,
    }[condition.op]
