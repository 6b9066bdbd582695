"""Runs on DuckDB: random writes, queries and crashes against a model in memory, and curves."""

import asyncio
import math
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fetchml.adapters.duckdb import maintenance, points_fold
from fetchml.adapters.duckdb import tracking as tracking_tables
from fetchml.adapters.duckdb.journal_writer import Unstorable
from fetchml.core.tracking import (
    DELETED_KEPT_MS,
    Axis,
    Curve,
    CurveQuery,
    Point,
    Run,
    RunStatus,
    Visibility,
)
from fetchml.core.tracking_filters import (
    Attribute,
    Compare,
    Field,
    IsNull,
    OneOf,
    Op,
    Order,
    Source,
)
from fetchml.ports.tracking_store import RunQuery, Series, TrackingStore, TrackingWrite
from tests.support.memory_tracking import MemoryTracking
from tests.support.stores import Opened, open_store, store_in
from tests.support.waiting import until

KEYS = ("loss", "acc", "é '%\"")
TEXTS = ("0.1", "0.2", "Adam", "a%_\\d", "", "é")
VALUES = (0.0, -1.5, 2.0, math.nan, math.inf, -math.inf, 1e308)

keys = st.sampled_from(KEYS)
runs = st.integers(0, 5)
steps = st.one_of(
    st.tuples(
        st.just("run"),
        st.sampled_from(("ann", "bob")),
        st.integers(0, 3),
        st.sampled_from(("0", "exp-1")),
        st.sampled_from((None, "task-1")),
        st.sampled_from(RunStatus),
    ),
    st.tuples(
        st.just("points"),
        runs,
        st.lists(
            st.tuples(keys, st.integers(-2, 4), st.integers(0, 5), st.sampled_from(VALUES)),
            min_size=1,
            max_size=5,
        ),
    ),
    st.tuples(st.just("texts"), runs, keys, st.sampled_from(TEXTS)),
    st.tuples(st.just("untag"), runs, keys),
    st.tuples(st.just("change"), runs, st.sampled_from((None, 7)), st.sampled_from(RunStatus)),
    st.sampled_from([("reopen",), ("crash",), ("together",)]),
)
fields = st.one_of(
    st.builds(Field, st.sampled_from((Source.METRIC, Source.PARAM, Source.TAG)), keys),
    st.builds(Field, st.just(Source.ATTRIBUTE), st.sampled_from(Attribute)),
)


@st.composite
def conditions(draw: st.DrawFn) -> object:
    field = draw(fields)
    if draw(st.integers(0, 4)) == 0:
        return IsNull(field, draw(st.booleans()))
    if field.is_number:
        op = draw(st.sampled_from([each for each in Op if each not in (Op.LIKE, Op.ILIKE)]))
        return Compare(field, op, draw(st.sampled_from((0, 2.0, -1.5, 1_002))))
    texts = st.sampled_from((*TEXTS, "%", "A%", "_.1", "ann", "RUNNING", "exp-1", "task-1"))
    if draw(st.integers(0, 2)) == 0:
        return OneOf(field, tuple(draw(st.lists(texts, max_size=2))), draw(st.booleans()))
    return Compare(field, draw(st.sampled_from(Op)), draw(texts))


queries = st.builds(
    RunQuery,
    experiment_ids=st.sampled_from(((), ("0",), ("0", "exp-1"))),
    run_ids=st.sampled_from(((), (f"{1:032x}", f"{2:032x}"))),
    task_id=st.sampled_from((None, None, "task-1")),
    user=st.sampled_from((None, None, "ann")),
    conditions=st.lists(conditions(), max_size=2).map(tuple),
    order=st.lists(st.builds(Order, fields, st.booleans()), max_size=2),
    visibility=st.sampled_from(Visibility),
    limit=st.integers(1, 4),
    offset=st.sampled_from((0, 0, 1, 10**9)),
)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(st.one_of(steps, steps, queries), min_size=10, max_size=50))
def test_runs_are_found_as_those_in_memory(script: list[object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(script, Path(folder)))


async def play(script: list[object], folder: Path) -> None:
    model = MemoryTracking()
    data_dir = folder / "0"
    opened = await open_store(data_dir)
    try:
        for number, step in enumerate(script):
            match step:
                case RunQuery():
                    assert_same(await opened.store.tracking.search(step), await model.search(step))
                case ("reopen" | "crash" as how,):
                    if how == "crash":  # What is on disk now is what a kill -9 leaves.
                        shutil.copytree(data_dir, folder / str(number + 1))
                    await opened.store.close()
                    data_dir = folder / str(number + 1) if how == "crash" else data_dir
                    opened = await open_store(data_dir)
                case ("together",):
                    # Two writes in one commit: the later one counts.
                    run = Run(f"{0:032x}", "0", "ann", "twice", RunStatus.RUNNING, 1_000)
                    await write(opened, model, TrackingWrite(runs=[run]))
                    later = msgspec.structs.replace(run, name="later")
                    first = opened.store.tracking.write(
                        TrackingWrite(runs=[run], tags=[(run.id, "a", "1"), (run.id, "b", "1")])
                    )
                    second = TrackingWrite(
                        runs=[later], removed_tags=[(run.id, "a")], tags=[(run.id, "b", "2")]
                    )
                    await asyncio.gather(first, write(opened, model, second))
                case tuple():
                    await change(opened, model, step)
        await check(opened, model)
    finally:
        await opened.store.close()
    assert opened.failures == []


async def write(opened: Opened, model: MemoryTracking, what: TrackingWrite) -> None:
    await asyncio.gather(opened.store.tracking.write(what), model.write(what))


async def change(opened: Opened, model: MemoryTracking, step: tuple[Any, ...]) -> None:
    made = [each.run for each in (await model.search(EVERYTHING)).runs]
    if step[0] == "run":
        _, user, age, experiment, task_id, status = step
        run_id = f"{len(made) + 1:032x}"
        run = Run(run_id, experiment, user, f"run é {age}", status, 1_000 + age, task_id)
        await write(opened, model, TrackingWrite(runs=[run]))
        return
    if not made:
        return
    run = made[step[1] % len(made)]
    match step:
        case ("points", _, points):
            stored = await model.load(run.id)
            assert stored is not None
            known = {head.series.key: head.series for head in stored.heads}
            last = await model.last_series()
            new: dict[str, Series] = {}
            for key, *_ in points:
                if key not in known and key not in new:
                    new[key] = Series(last + len(new) + 1, run.id, key)
            rows = [((known | new)[key].id, *rest) for key, *rest in points]
            await write(opened, model, TrackingWrite(series=list(new.values()), points=rows))
        case ("texts", _, key, value):
            text = (run.id, key, value)
            stored = await model.load(run.id)
            assert stored is not None
            params = [] if key in stored.params else [text]
            await write(opened, model, TrackingWrite(params=params, tags=[text]))
        case ("untag", _, key):
            await write(opened, model, TrackingWrite(removed_tags=[(run.id, key)]))
        case ("change", _, deleted_at, status):
            changed = msgspec.structs.replace(
                run, deleted_at=deleted_at and 1 << 50, status=status, ended_at=1_002, details="{}"
            )
            await write(opened, model, TrackingWrite(runs=[changed]))


EVERYTHING = RunQuery(visibility=Visibility.ALL, limit=1_000)


async def check(opened: Opened, model: MemoryTracking) -> None:
    tracking = opened.store.tracking
    everything = await model.search(EVERYTHING)
    assert_same(await tracking.search(EVERYTHING), everything)
    assert await tracking.totals() == await model.totals()
    assert await tracking.last_series() == await model.last_series()
    for view in everything.runs:
        run = view.run
        assert_same(await tracking.get(run.id), view)
        for key in KEYS:
            for window in ({"limit": 2, "offset": 1}, {"limit": 100, "offset": 0}):
                points = await tracking.history(run.id, key, **window)
                assert_same(points, await model.history(run.id, key, **window))
        mine, theirs = await tracking.load(run.id), await model.load(run.id)
        assert mine is not None
        assert theirs is not None
        assert (mine.run, mine.params, mine.tags) == (theirs.run, theirs.params, theirs.tags)
        assert sorted(mine.heads, key=repr) == sorted(theirs.heads, key=repr)
        rows = [
            (head.series.id, point.step, point.at, point.value)
            for head in mine.heads
            for point in await model.history(run.id, head.series.key, limit=100, offset=0)
        ]
        asked = [*rows, *((series, step, at, -7.0) for series, step, at, _ in rows)]
        if asked:
            assert await tracking.stored(asked) == set(range(len(rows)))
    runs = [view.run for view in everything.runs]
    for axis in Axis:
        for bounds in ((None, None), (-1.0, 1.001)):
            query = CurveQuery(tuple(run.id for run in runs), (), 320, axis, *bounds)
            found, wanted = await tracking.curves(runs, query), await model.curves(runs, query)
            assert [values_of(each) for each in found] == [values_of(each) for each in wanted]


def values_of(curve: Curve) -> tuple[object, ...]:
    """Points at one place and time have no order."""
    columns = zip(curve.x, curve.last, curve.count, curve.not_numbers, strict=True)
    return curve.run_id, curve.metric, curve.whole, sorted(columns)


def assert_same(one: object, other: object) -> None:
    """NaN equals NaN here."""
    assert repr(one) == repr(other)


async def curve_of(tracking: TrackingStore, run: Run, **query: Any) -> Curve:
    [curve] = await tracking.curves([run], CurveQuery((run.id,), ("loss",), 320, **query))
    return curve


RUN = Run(f"{1:032x}", "0", "ann", "a", RunStatus.RUNNING, 1_000)


async def test_a_long_curve_comes_in_buckets_that_stay_while_it_grows(tmp_path: Path) -> None:
    points = [(1, step, 1_000 + 10 * step, math.sin(step)) for step in range(6_000)]
    points[1_234] = (1, 1_234, 13_340, math.nan)
    points[2_345] = (1, 2_345, 24_450, 77.0)
    async with store_in(tmp_path) as opened:
        tracking = opened.store.tracking
        await tracking.write(
            TrackingWrite([RUN], series=[Series(1, RUN.id, "loss")], points=points[:3_000])
        )
        before = await curve_of(tracking, RUN)
        await tracking.write(TrackingWrite(points=points[3_000:4_000]))
        curve = await curve_of(tracking, RUN)
        assert not curve.whole
        assert 160 <= len(curve.x) <= 322
        assert (curve.x[0], curve.last[0], curve.x[-1]) == (0.0, 0.0, 3_999.0)
        assert (curve.last[-1], curve.count[0], curve.count[-1]) == (math.sin(3_999), 1, 1)
        # All but the newest two buckets of the shorter curve are there unchanged.
        assert rows_of(curve)[: len(before.x) - 2] == rows_of(before)[:-2]
        width = 16
        buckets = defaultdict[object, list[tuple[int, float]]](list)
        for _, step, _, value in points[:4_000]:
            place = step // width if 0 < step < 3_999 else f"end {step}"
            buckets[place].append((step, value))
        assert rows_of(curve) == [expected(each) for each in buckets.values()]
        assert sum(curve.count) + sum(curve.not_numbers) == 4_000
        assert max(curve.max) == 77.0
        # A part of it comes whole.
        part = await curve_of(tracking, RUN, start=1_200, end=1_300)
        assert part.whole
        assert list(part.x) == [float(step) for step in range(1_200, 1_301)]
        assert part.not_numbers[34] == 1
        # Over time it has the same buckets at other places.
        relative = await curve_of(tracking, RUN, axis=Axis.RELATIVE)
        assert (relative.x[0], relative.x[-1]) == (0.0, 39.99)
        assert sum(relative.count) == 3_999


def rows_of(curve: Curve) -> list[tuple[float, ...]]:
    columns = curve.x, curve.min, curve.max, curve.last, curve.count, curve.not_numbers, curve.mean
    return [(*row[:-1], round(row[-1], 9)) for row in zip(*columns, strict=True)]


def expected(bucket: list[tuple[int, float]]) -> tuple[float, ...]:
    numbers = [value for _, value in bucket if math.isfinite(value)]
    others = len(bucket) - len(numbers)
    mean = round(sum(numbers) / len(numbers), 9)
    return bucket[0][0], min(numbers), max(numbers), numbers[-1], len(numbers), others, mean


async def test_runs_that_were_deleted_long_ago_go_with_their_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "EXPIRY_S", 0.0)
    monkeypatch.setattr(maintenance, "IDLE_S", 0.0)
    monkeypatch.setattr(points_fold, "REMOVED_SERIES", 1)
    now = DELETED_KEPT_MS + 2_000
    gone = msgspec.structs.replace(RUN, deleted_at=1_999)
    kept = msgspec.structs.replace(RUN, id=f"{2:032x}", deleted_at=2_001)
    async with store_in(tmp_path, now_ms=lambda: now) as opened:
        tracking = opened.store.tracking
        for number, run in enumerate((gone, kept)):
            ids = [3 * number + place for place in (1, 2, 3)]
            await tracking.write(
                TrackingWrite(
                    [run],
                    params=[(run.id, "a", "b")],
                    tags=[(run.id, "a", "b")],
                    series=[Series(each, run.id, f"m{each}") for each in ids],
                    points=[(each, 1, 1, 0.5) for each in ids],
                )
            )

        def rows() -> list[int]:
            cursor = opened.store._database.cursor()
            tables = ("runs", "params", "tags", "series", "points")
            return [len(cursor.table(each).fetchall()) for each in tables]

        async def rows_now() -> list[int]:
            return await asyncio.to_thread(rows)

        await until(rows_now, lambda found: found == [1, 1, 1, 3, 3])
        assert await tracking.get(gone.id) is None
        view = await tracking.get(kept.id)
        assert view is not None
        assert view.metrics == tuple(Point(f"m{each}", 0.5, 1, 1) for each in (4, 5, 6))


async def test_what_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    async with store_in(tmp_path) as opened:
        tracking = opened.store.tracking
        good = tracking.write(TrackingWrite([RUN]))
        for bad in (
            TrackingWrite([msgspec.structs.replace(RUN, name="\ud800")]),
            TrackingWrite([msgspec.structs.replace(RUN, started_at=1 << 64)]),
            TrackingWrite(tags=[(RUN.id, "a", "\ud800")]),
            TrackingWrite(series=[Series(1, RUN.id, "\ud800")]),
        ):
            with pytest.raises(Unstorable):
                tracking.write(bad)
        await good
        assert_same((await tracking.search(EVERYTHING)).runs[0].run, RUN)


async def test_a_page_of_large_runs_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_tables, "PAGE_CHARACTERS", 1_000)
    ids = [f"{number:032x}" for number in range(5)]
    runs = [msgspec.structs.replace(RUN, id=run_id, details="x" * 200) for run_id in ids]
    async with store_in(tmp_path) as opened:
        tracking = opened.store.tracking
        texts = [(run_id, "a", "y" * 100) for run_id in ids]
        await tracking.write(TrackingWrite(runs, params=texts))
        # 200 for the details, 100 for the parameter and 100 for its value.
        for offset, there in ((0, ids[:2]), (2, ids[2:4]), (4, ids[4:])):
            found = await tracking.search(RunQuery(limit=100, offset=offset))
            assert [each.run.id for each in found.runs] == there
            assert found.cut is (offset < 4)
        await tracking.write(TrackingWrite(tags=[(ids[0], "b", "z" * 5_000)]))
        found = await tracking.search(RunQuery(limit=100))
        assert [each.run.id for each in found.runs] == ids[:1]
