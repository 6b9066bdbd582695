"""Runs on a real store: what is logged once and what is refused, who may do what, and limits."""

import asyncio
import math

import pytest

from fetchml.core import tracking as limits
from fetchml.core.tracking import (
    DELETED_KEPT_MS,
    CurveQuery,
    Point,
    Run,
    RunStatus,
    RunView,
    Visibility,
)
from fetchml.core.tracking_filters import Compare, Field, Op, Source
from fetchml.errors import BadRequest, DiskFull, Forbidden, NotFound
from fetchml.ports.tracking_store import UserTotal
from fetchml.tracking import open_runs
from fetchml.tracking.tracking_service import Tracking, TrackingLimits
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box

LOSS = [Point("loss", 3.0, 1_000, 0), Point("loss", math.nan, 1_010, 1), Point("acc", 0.5, 1_000)]


async def history(tracking: Tracking, run: Run, key: str = "loss") -> list[tuple[float, ...]]:
    page = await tracking.history(ALICE, run.id, key)
    return [(each.step, each.at, each.value) for each in page.points]


async def test_a_run_from_its_start_to_its_end(box: Box) -> None:
    async with box.engine():
        tracking = box.parts.tracked.runs
        run = await tracking.create_run(
            ALICE, "0", name="first", tags={"a": "1"}, started_at=900, task_id="task-1"
        )
        assert run == Run(run.id, "0", "alice", "first", RunStatus.RUNNING, 900, "task-1")
        await tracking.log(ALICE, run.id, LOSS, {"lr": "0.1"}, {"b": "2"})
        await tracking.log(ALICE, run.id, [Point("loss", 1.0, 1_005, 1)], {}, {"a": "3"})
        await tracking.delete_tag(ALICE, run.id, "b")
        ended = await tracking.update_run(
            ALICE,
            run.id,
            status=RunStatus.FINISHED,
            ended_at=2_000,
            name="renamed",
            details=lambda old: old + "x",
        )
        assert (ended.status, ended.ended_at, ended.name) == (RunStatus.FINISHED, 2_000, "renamed")
        assert ended.details == "x"
    async with box.engine():
        tracking = box.parts.tracked.runs
        view = await tracking.get_run(BOB, run.id)
        assert view.run == ended
        assert [(each.key, each.step, each.at) for each in view.metrics] == [
            ("acc", 0, 1_000),
            ("loss", 1, 1_010),
        ]
        assert (view.params, view.tags) == ({"lr": "0.1"}, {"a": "3"})
        page = await tracking.search(
            BOB, conditions=(Compare(Field(Source.METRIC, "acc"), Op.GT, 0.4),)
        )
        assert [each.run for each in page.runs] == [ended]
        curves = await tracking.curves(BOB, CurveQuery((run.id,)))
        assert [(each.metric, list(each.x)) for each in curves] == [
            ("acc", [0.0]),
            ("loss", [0.0, 1.0, 1.0]),
        ]


async def test_points_that_are_sent_again_add_nothing(box: Box) -> None:
    late = [Point("loss", 9.0, 500, 0), Point("loss", math.nan, 1_010, 1), *LOSS]
    async with box.engine():
        tracking = box.parts.tracked.runs
        run = await tracking.create_run(ALICE, "0")
        await asyncio.gather(*(tracking.log(ALICE, run.id, LOSS, {"lr": "1"}) for _ in range(5)))
        await tracking.log(ALICE, run.id, [*LOSS, *LOSS, *[Point("new", 1.0, 1)] * 2])
        assert await history(tracking, run, "new") == [(0, 1, 1.0)]
        other = [Point("loss", 4.0, 1_000, 0)]
        await tracking.log(ALICE, run.id, other)
        await tracking.log(ALICE, run.id, other)
        assert await history(tracking, run) == [
            (0, 1_000, 3.0),
            (0, 1_000, 4.0),
            pytest.approx((1, 1_010, math.nan), nan_ok=True),
        ]
    async with box.engine():
        tracking = box.parts.tracked.runs
        await tracking.log(ALICE, run.id, late, {"lr": "1"})
        await tracking.log(ALICE, run.id, late)
        assert [each[:2] for each in await history(tracking, run)] == [
            (0, 500),
            (0, 1_000),
            (0, 1_000),
            (1, 1_010),
        ]
        assert (await box.parts.store.tracking.totals())["alice"].points == 6


async def test_what_leaves_memory_is_read_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_runs, "_PER_ENTRY", 1 << 40)
    async with box.engine():
        tracking = box.parts.tracked.runs
        runs = [await tracking.create_run(ALICE, "0") for _ in range(3)]

        async def log(run: Run, step: int) -> None:
            params = {"lr": "1", f"p{step}": "a"}
            await tracking.log(ALICE, run.id, [Point("loss", 1.0, step, step)], params)

        for step in range(10):
            await asyncio.gather(*(log(run, step) for run in (*runs, *runs)))
        for run in runs:
            assert await history(tracking, run) == [(step, step, 1.0) for step in range(10)]
            with pytest.raises(BadRequest, match="param 'p3': has the value 'a' already"):
                await tracking.log(ALICE, run.id, params={"p3": "b"})


async def test_bad_input_changes_nothing(box: Box) -> None:
    async with box.engine():
        tracking = box.parts.tracked.runs
        run = await tracking.create_run(ALICE, "0", name="n")
        await tracking.log(ALICE, run.id, LOSS, {"lr": "1"}, {"t": "1"})
        before = await tracking.get_run(ALICE, run.id)
        long = "x" * 251
        good = [Point("good", 1.0, 1)]
        for points, params, tags in (
            ([Point("", 1.0, 1)], {}, {}),
            ([Point(long, 1.0, 1)], {}, {}),
            ([Point("\ud800", 1.0, 1)], {}, {}),
            ([Point("a\0", 1.0, 1)], {}, {}),
            ([Point("a", 1.0, -1)], {}, {}),
            ([Point("a", 1.0, 10**18)], {}, {}),
            ([Point("a", 1.0, 1, 1 << 63)], {}, {}),
            (good * 10_001, {}, {}),
            (good, {"lr": "2"}, {}),
            (good, {"a": "x" * 6_001}, {}),
            (good, {"a": "\ud800"}, {}),
            (good, {"": "a"}, {}),
            (good, {}, {"a": "x" * 8_001}),
            (good, {}, {long: "a"}),
        ):
            with pytest.raises(BadRequest):
                await tracking.log(ALICE, run.id, points, params, tags)
        for change in (
            {"name": "x" * 501},
            {"name": "\ud800"},
            {"ended_at": -1},
            {"ended_at": 1 << 62},
            {"details": lambda _: "x" * 1_000_001},
        ):
            with pytest.raises(BadRequest):
                await tracking.update_run(ALICE, run.id, **change)
        for started in ({"started_at": -1}, {"run_id": "A" * 32}, {"tags": {"": ""}}):
            with pytest.raises(BadRequest):
                await tracking.create_run(ALICE, "0", **started)
        with pytest.raises(NotFound):
            await tracking.create_run(ALICE, "none")
        with pytest.raises(NotFound):
            await tracking.delete_tag(ALICE, run.id, "none")
        for token in ("x", "-1", "1" * 10, "¹"):
            with pytest.raises(BadRequest):
                await tracking.search(ALICE, page_token=token)
        for run_id in ("", "x" * 32, "0" * 32, "\0", "'"):
            with pytest.raises(NotFound):
                await tracking.get_run(ALICE, run_id)
            with pytest.raises(NotFound):
                await tracking.log(ALICE, run_id, good)
        after = await tracking.get_run(ALICE, run.id)
        assert repr(after) == repr(before)


async def test_only_owner_and_admin_write(box: Box) -> None:
    async with box.engine():
        tracking = box.parts.tracked.runs
        with pytest.raises(Forbidden):
            await tracking.create_run(VIEWER, "0")
        run = await tracking.create_run(ALICE, "0")
        for other in (BOB, VIEWER):
            for verb in (
                tracking.log(other, run.id, LOSS),
                tracking.update_run(other, run.id, name="b"),
                tracking.delete_tag(other, run.id, "a"),
                tracking.delete_run(other, run.id),
                tracking.restore_run(other, run.id),
            ):
                with pytest.raises(Forbidden):
                    await verb
            assert (await tracking.get_run(other, run.id)).run == run
            with pytest.raises((Forbidden, NotFound)):
                await tracking.create_run(other, "0", run_id=run.id)
        await tracking.log(ADMIN, run.id, LOSS)
        assert await tracking.create_run(ALICE, "0", run_id=run.id, name="again") == run


async def test_on_a_private_server_others_see_nothing(box: Box) -> None:
    async with box.engine(private=True):
        tracking = box.parts.tracked.runs
        run = await tracking.create_run(ALICE, "0", task_id="task-1")
        await tracking.log(ALICE, run.id, LOSS, {"lr": "1"})
        for other in (BOB, VIEWER):
            for verb in (
                tracking.get_run(other, run.id),
                tracking.log(other, run.id, LOSS),
                tracking.update_run(other, run.id, name="b"),
                tracking.delete_tag(other, run.id, "a"),
                tracking.delete_run(other, run.id),
                tracking.restore_run(other, run.id),
                tracking.history(other, run.id, "loss"),
                tracking.curves(other, CurveQuery((run.id,))),
            ):
                with pytest.raises(NotFound):
                    await verb
            for page in (
                await tracking.search(other),
                await tracking.search(other, run_ids=[run.id]),
                await tracking.search(other, task_id="task-1"),
            ):
                assert page.runs == ()
        for seen_by in (ALICE, ADMIN):
            assert [each.run.id for each in (await tracking.search(seen_by)).runs] == [run.id]
            assert len(await tracking.curves(seen_by, CurveQuery((run.id,)))) == 2


async def test_a_deleted_run_can_be_restored_for_a_while(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.engine():
        tracking = box.parts.tracked.runs
        run = await tracking.create_run(ALICE, "0")
        await tracking.log(ALICE, run.id, LOSS)
        for _ in range(2):
            await tracking.delete_run(ALICE, run.id)
        assert (await tracking.search(ALICE)).runs == ()
        [deleted] = (await tracking.search(ALICE, visibility=Visibility.DELETED)).runs
        assert deleted.run.deleted_at is not None
        with pytest.raises(BadRequest, match="deleted: restore it first"):
            await tracking.log(ALICE, run.id, LOSS)
        assert box.parts.tracked.runs._totals._of["alice"] == UserTotal()
        await tracking.restore_run(ALICE, run.id)
        await tracking.log(ALICE, run.id, LOSS)
        assert (await tracking.get_run(ALICE, run.id)).run == run
        assert box.parts.tracked.runs._totals._of["alice"] == UserTotal(1, 3, 0)
        await tracking.delete_run(ALICE, run.id)
        later = box.parts.clock() + DELETED_KEPT_MS
        monkeypatch.setattr(tracking, "_clock", lambda: later)
        for verb in (tracking.restore_run(ALICE, run.id), tracking.get_run(ALICE, run.id)):
            with pytest.raises(NotFound):
                await verb


async def test_limits_of_a_user_and_of_a_run(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetchml.tracking.tracking_service.MAX_METRICS_OF_RUN", 3)
    monkeypatch.setattr("fetchml.tracking.tracking_service.MAX_PARAMS_OF_RUN", 1)
    async with box.engine():
        tracking = box.parts.tracked.runs
        tracking._totals._limits = TrackingLimits(2, 5, 20)
        run = await tracking.create_run(ALICE, "0")
        await tracking.log(ALICE, run.id, LOSS, {"lr": "1"})
        for points, params in (
            ([Point("m1", 1.0, 1), Point("m2", 1.0, 1)], {}),
            ([], {"b": "1"}),
            ([Point("loss", 1.0, 5_000 + at, 5) for at in range(3)], {}),
        ):
            with pytest.raises(BadRequest):
                await tracking.log(ALICE, run.id, points, params)
        with pytest.raises(BadRequest, match="Per-user limit of 20 characters"):
            await tracking.log(ALICE, run.id, tags={"long": "x" * 20})
        await tracking.log(ALICE, run.id, [Point("loss", 1.0, 5_000 + at, 5) for at in range(2)])
        with pytest.raises(BadRequest, match="Per-user limit of 20 characters"):
            await tracking.update_run(ALICE, run.id, details=lambda _: "x" * 20)
        # What is sent again does not count.
        await tracking.log(ALICE, run.id, [Point("loss", 1.0, 5_000 + at, 5) for at in range(2)])
        await tracking.create_run(ALICE, "0")
        with pytest.raises(BadRequest, match="Per-user limit of 2 runs reached: delete runs"):
            await tracking.create_run(ALICE, "0")
        await tracking.create_run(BOB, "0")
        await tracking.delete_run(ALICE, run.id)
        await tracking.create_run(ALICE, "0")


async def test_pages_hold_every_run_once(box: Box) -> None:
    async with box.engine():
        tracking = box.parts.tracked.runs
        made = [(await tracking.create_run(ALICE, "0", started_at=n // 2)).id for n in range(7)]
        found = list[RunView]()
        token = ""
        while len(found) < 7:
            page = await tracking.search(BOB, limit=3, page_token=token)
            found += page.runs
            token = page.next_page_token
        assert not token
        assert sorted(each.run.id for each in found) == sorted(made)
        assert [each.run.started_at for each in found] == [3, 2, 2, 1, 1, 0, 0]


async def test_an_archived_experiment_takes_no_runs(box: Box) -> None:
    async with box.engine():
        experiment = await box.experiments.create(ALICE, {"name": "a"})
        run = await box.parts.tracked.runs.create_run(BOB, experiment.id)
        await box.experiments.archive(ALICE, experiment.id)
        with pytest.raises(BadRequest, match="archived"):
            await box.parts.tracked.runs.create_run(ALICE, experiment.id)
        await box.parts.tracked.runs.log(BOB, run.id, LOSS)
        page = await box.parts.tracked.runs.search(ALICE, experiment_ids=[experiment.id])
        assert [each.run.id for each in page.runs] == [run.id]


async def test_a_full_disk_refuses_points(box: Box) -> None:
    async with box.engine():
        run = await box.parts.tracked.runs.create_run(ALICE, "0")
    async with box.engine(min_free_bytes=1 << 60):
        for verb in (
            box.parts.tracked.runs.log(ALICE, run.id, LOSS),
            box.parts.tracked.runs.create_run(ALICE, "0"),
        ):
            with pytest.raises(DiskFull):
                await verb
        # What frees space goes on.
        await box.parts.tracked.runs.delete_run(ALICE, run.id)


def test_limits_fit_together() -> None:
    assert limits.MAX_CURVES * limits.MIN_BUCKETS <= limits.MAX_BUCKETS_OF_REQUEST
