"""The history of use on DuckDB."""

import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fetchml.adapters.duckdb import maintenance
from fetchml.adapters.duckdb.recovery import DatabaseFiles
from fetchml.core.model import Status
from fetchml.core.usage import (
    DETAIL_MS,
    HISTORY_MS,
    HOUR_MS,
    SAMPLE_MS,
    SUMS_MS,
    DayUse,
    GpuHold,
    GpuSample,
    Period,
    TaskSample,
    UserDay,
)
from fetchml.ports.usage_store import UsageBatch
from tests.adapters.duckdb.test_recovery import SCHEMA_1
from tests.support.memory_usage import MemoryUsage
from tests.support.stores import Opened, numbered, store_in
from tests.support.waiting import until

START = 1_760_000_400_000
"""The begin of an hour."""
ALL = Period(0, 1 << 50, 300)


@pytest.fixture(autouse=True)
def soon_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "SUM_S", 0.0)
    monkeypatch.setattr(maintenance, "SUM_AGAIN_S", 0.0)


def samples(task_id: str, first: int, count: int, attempt: int = 1) -> list[TaskSample]:
    rng = random.Random(f"{task_id} {first}")  # noqa: S311
    return [
        TaskSample(
            first + number * SAMPLE_MS,
            task_id,
            attempt,
            cpu=rng.randrange(400),
            memory=rng.randrange(1 << 20),
            read=rng.randrange(2) * rng.randrange(1 << 16),
            write=rng.randrange(1 << 16),
        )
        for number in range(count)
    ]


def gpu_samples(uuid: str, first: int, count: int) -> list[GpuSample]:
    rng = random.Random(f"{uuid} {first}")  # noqa: S311
    return [
        GpuSample(
            first + number * SAMPLE_MS,
            uuid,
            rng.randrange(101),
            rng.randrange(81_920),
            rng.choice((None, 60, 70)),
            None,
            held=rng.random() < 0.5,
        )
        for number in range(count)
    ]


async def recorded(opened: Opened, batch: UsageBatch) -> None:
    """Return when the batch is stored."""
    opened.store.usage.record(batch)
    await until(opened.store.usage.accounted_until, lambda stored: stored >= batch.until)


def rounded(values: Any) -> Any:
    """Numbers to compare: an average may differ in its last bits."""
    if isinstance(values, (list, tuple)):
        return [rounded(each) for each in values]
    return [
        round(value, 2) if isinstance(value, float) else value
        for value in (getattr(values, name) for name in values.__struct_fields__)
    ]


async def test_answers_are_those_of_a_history_in_memory(tmp_path: Path) -> None:
    memory = MemoryUsage()
    async with store_in(tmp_path, now_ms=lambda: START) as opened:
        assert await opened.store.usage.accounted_until() == 0
        for number in range(3):
            first = START + number * 100 * SAMPLE_MS
            batch = UsageBatch(
                first,
                [*samples("task-000001", first, 90, number + 1), *samples("b", first, 20)],
                [*gpu_samples("GPU-0", first, 90), *gpu_samples("GPU-1", first, 10)],
                [GpuHold("GPU-0", f"t{number}", "ann", first, first + 60_000)],
                {UserDay("2025-10-09", "ann"): DayUse(1, 2, 3, number)},
            )
            memory.record(batch)
            await recorded(opened, batch)
        for since, end, points in ((0, 1 << 50, 2_000), (START + 55_000, START + 2_000_000, 7)):
            period = Period(since, end, points)
            for attempt in (None, 2, 9):
                ours = await opened.store.usage.task_history("task-000001", period, attempt)
                theirs = await memory.task_history("task-000001", period, attempt)
                assert rounded(ours.points) == rounded(theirs.points)
                assert (ours.since, ours.until, ours.step) == (
                    theirs.since,
                    theirs.until,
                    theirs.step,
                )
                assert len(ours.points) <= points
            step = 50_000 if since else 10_000_000_000
            assert rounded(await opened.store.usage.gpu_history(period, step)) == rounded(
                await memory.gpu_history(period, step)
            )
            assert await opened.store.usage.gpu_uuids(period) == await memory.gpu_uuids(period)
            for user in (None, "ann", "bob"):
                for limit in (1, 10):
                    assert await opened.store.usage.gpu_holds(
                        period, limit, user
                    ) == await memory.gpu_holds(period, limit, user)
        days = [(UserDay("2025-10-09", "ann"), DayUse(3, 6, 9, 3))]
        assert await opened.store.usage.days("2025-10-09", "2025-10-09", 5, None) == days
        assert await opened.store.usage.days("2025-10-09", "2025-10-10", 5, "bob") == []
        assert await opened.store.usage.days("2025-10-10", "2025-10-11", 5, None) == []
        nothing = await opened.store.usage.task_history("unknown", ALL)
        assert (nothing.points, nothing.total) == ((), None)
    async with store_in(tmp_path) as opened:
        assert await opened.store.usage.days("2025-10-09", "2025-10-09", 5, None) == days
        assert await opened.store.usage.accounted_until() == START + 200 * SAMPLE_MS


async def test_old_samples_become_hours_with_the_same_totals(tmp_path: Path) -> None:
    now = START + DETAIL_MS
    async with store_in(tmp_path, now_ms=lambda: now) as opened:
        usage = opened.store.usage
        tasks = samples("a", START, 900) + samples("b", START + HOUR_MS, 300, attempt=2)
        gpus = gpu_samples("GPU-0", START, 900)
        await recorded(opened, UsageBatch(START, tasks, gpus))
        exact = [(await usage.task_history(task, ALL)).total for task in ("a", "b")]
        period = Period(START, START + 3 * HOUR_MS)
        [exact_gpu] = await usage.gpu_history(period, 3 * HOUR_MS)
        now += 2 * HOUR_MS

        async def widths() -> list[int]:
            found = await usage.task_history("a", Period(0, 1 << 50, 2_000))
            return [point.samples for point in found.points]

        await until(widths, lambda found: len(found) == 2 + 180)
        summed = await usage.task_history("a", Period(0, 1 << 50, 2_000))
        assert [point.samples for point in summed.points[:2]] == [360, 360]
        assert {point.samples for point in summed.points[2:]} == {1}
        assert (summed.points[0].at, summed.points[1].at) == (START, START + HOUR_MS)
        totals = [(await usage.task_history(task, ALL)).total for task in ("a", "b")]
        for before, after in zip(exact, totals, strict=True):
            assert before is not None
            assert after is not None
            assert (after.samples, after.attempt) == (before.samples, before.attempt)
            assert after.memory_max == before.memory_max
            assert after.cpu_max == before.cpu_max
            assert after.cpu == pytest.approx(before.cpu, abs=0.06)
            assert after.memory == pytest.approx(before.memory, abs=0.6)
        [gpu] = await usage.gpu_history(period, 3 * HOUR_MS)
        assert (gpu.samples, gpu.utilisation_max) == (exact_gpu.samples, exact_gpu.utilisation_max)
        assert gpu.held == pytest.approx(exact_gpu.held, abs=0.001)
        assert gpu.power is None
        part = await usage.task_history("a", Period(START + HOUR_MS, START + 2 * HOUR_MS))
        assert sum(point.samples for point in part.points) == 360


async def test_rows_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "EXPIRY_S", 0.0)
    now = START + 10 * HOUR_MS
    async with store_in(tmp_path, usage_rows=400, now_ms=lambda: now) as opened:
        usage = opened.store.usage
        holds = [GpuHold("GPU-0", "a", "ann", START + n, START + n + 1) for n in range(100)]
        await recorded(opened, UsageBatch(START, samples("a", START, 1_000), holds=holds))

        async def kept() -> list[int]:
            history = await usage.task_history("a", Period(0, 1 << 50, 2_000))
            return [point.samples for point in history.points]

        found = await until(kept, lambda each: len(each) < 400)
        assert sum(found) == 1_000, "the oldest became hours before a week had passed"

        async def held() -> list[GpuHold]:
            return await usage.gpu_holds(ALL, 1_000, None)

        left = await until(held, lambda each: len(each) <= 400 // 16 + 1)
        assert left[0] == holds[-1], "the oldest go"
        days = {UserDay("2025-10-09", "ann"): DayUse(1)}
        await recorded(opened, UsageBatch(START + 1, days=days))
        now = START + max(HISTORY_MS, SUMS_MS) + 2 * 24 * HOUR_MS
        assert await until(kept, lambda each: not each) == []
        assert await until(held, lambda each: not each) == []
        await until(lambda: usage.days("2000-01-01", "2100-01-01", 9, None), lambda each: not each)


@pytest.mark.slow
async def test_history_of_a_deleted_task_is_removed(tmp_path: Path) -> None:
    now = START + DETAIL_MS + 2 * HOUR_MS
    async with store_in(tmp_path, now_ms=lambda: now) as opened:
        usage, task = opened.store.usage, numbered(1)
        await opened.append(task)
        for first in (START, now):
            mine = [*samples(task.id, first, 30), *samples("other", first, 30)]
            holds = [GpuHold("GPU-0", each, "ann", first, first + 9) for each in (task.id, "other")]
            await recorded(opened, UsageBatch(first, mine, holds=holds))
        # In the same moment as its last samples, which are not stored yet.
        usage.record(UsageBatch(now + 1, samples(task.id, now + 400_000, 5)))
        text = '"hidden":true'
        await opened.append(numbered(1, Status.COMPLETED, hidden=True), numbered(2, error=text))
        history = await until(
            lambda: usage.task_history(task.id, ALL), lambda found: not found.points
        )
        assert history.points == ()
        assert {hold.task_id for hold in await usage.gpu_holds(ALL, 9, None)} == {"other"}
        rest = await usage.task_history("other", ALL)
        assert sum(point.samples for point in rest.points) == 60
        usage.record(UsageBatch(now + 2, samples(numbered(2).id, now, 5)))
        await until(lambda: usage.task_history(numbered(2).id, ALL), lambda found: found.points)


async def test_days_of_earlier_schemas_count_their_tasks(tmp_path: Path) -> None:
    database = DatabaseFiles.below(tmp_path).database
    database.parent.mkdir()
    database.write_bytes(gzip.decompress(SCHEMA_1.read_bytes()))
    async with store_in(tmp_path, now_ms=lambda: 3_000) as opened:
        days = await opened.store.usage.days("1970-01-01", "1970-01-02", 9, None)
        assert days == [(UserDay("1970-01-01", "ann"), DayUse(completed=1))]


async def test_batches_are_dropped_while_the_disk_is_full(tmp_path: Path) -> None:
    async with store_in(tmp_path, min_free_bytes=1 << 60) as opened:
        assert not opened.store.has_room()
        for number in range(1_000):
            opened.store.usage.record(UsageBatch(START + number, samples("a", START, 100)))
        await opened.append(numbered(1))
    async with store_in(tmp_path) as opened:
        assert (await opened.store.usage.task_history("a", ALL)).points == ()


def all_texts() -> Iterator[str]:
    yield from ("'; DROP TABLE task_usage; --", "\x00", "é\U0001f600", "x" * 100_000, "")


async def test_any_text_is_only_a_value(tmp_path: Path) -> None:
    async with store_in(tmp_path) as opened:
        for text in all_texts():
            hold = GpuHold(text, text, text, 1, 2)
            batch = UsageBatch(
                1, samples(text, START, 1), gpu_samples(text, START, 1), [hold],
                {UserDay("2025-10-09", text): DayUse(1)},
            )  # fmt: skip
            opened.store.usage.record(batch)
            found = await until(
                lambda text=text: opened.store.usage.task_history(text, ALL),  # type: ignore[misc]
                lambda found: found.points,
            )
            assert len(found.points) == 1
        assert len(await opened.store.usage.gpu_uuids(ALL)) == 5
