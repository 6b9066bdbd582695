"""Watches: complete, in order, resumable, and nothing kept for the slow."""

import asyncio
import contextlib

import pytest

from fetchml import feed
from fetchml.core.model import Status
from fetchml.engine import Engine
from fetchml.errors import Unavailable
from fetchml.views import Update, UpdateType, WatchFilter
from tests.engine.conftest import ADMIN, ALICE, BOB, Box, ended

HELLO = {"job_name": "hello"}


async def take(engine: Engine, number: int, since: int) -> list[Update]:
    """The next `number` updates after `since`."""
    taken = []
    watch = engine.watch(ADMIN, WatchFilter(), since)
    async with asyncio.timeout(10), contextlib.aclosing(watch) as updates:
        async for update in updates:
            taken.append(update)
            if len(taken) == number:
                break
    return taken


async def test_story_of_a_task_is_whole_and_in_order(box: Box) -> None:
    async with box.engine() as engine:
        task = await ended(engine, (await engine.create_task(ALICE, HELLO)).id)
        updates = await take(engine, 5, since=0)
        assert [update.seq for update in updates] == [1, 2, 3, 4, 5]
        assert [update.task.status for update in updates if update.task] == [
            Status.QUEUED,
            Status.PREPARING,
            Status.RUNNING,
            Status.COLLECTING,
            Status.COMPLETED,
        ]
        assert updates[-1].task == task
    async with box.engine() as engine:
        assert await take(engine, 5, since=0) == updates
        assert await take(engine, 2, since=3) == updates[3:]


async def test_watch_ends_with_a_reason_when_the_server_shuts_down(box: Box) -> None:
    async with box.engine() as engine:
        watch = engine.watch(ADMIN, WatchFilter(), snapshot=True)
        assert (await anext(watch)).type is UpdateType.SYNCED
        waits = asyncio.create_task(anext(watch))
        await engine.drain()
        with pytest.raises(Unavailable):
            await waits


async def test_reader_that_falls_behind_reads_from_disk(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "KEPT", 2)
    async with box.engine(max_running=1) as engine:
        watch = engine.watch(ADMIN, WatchFilter(), snapshot=True)
        seen = (await anext(watch)).seq
        await engine.create_tasks(ALICE, [HELLO] * 20)
        await engine.create_tasks(ALICE, [HELLO] * 20)
        for _ in range(41):
            update = await anext(watch)
            assert update.seq == seen + 1
            seen = update.seq
        await watch.aclose()


async def test_number_from_another_time_is_told_to_resync(box: Box) -> None:
    async with box.engine() as engine:
        [update] = await take(engine, 1, since=10**9)
        assert (update.type, update.seq) == (UpdateType.RESYNC, 0)


async def test_watch_shows_only_what_may_be_seen_and_was_asked_for(box: Box) -> None:
    async with box.engine(private=True) as engine:
        hers = await engine.create_task(ALICE, {"job_name": "hers"})
        his = await engine.create_task(BOB, {"job_name": "his"})
        await ended(engine, hers.id)
        await ended(engine, his.id)
        watch = engine.watch(BOB, WatchFilter(states=(Status.COMPLETED,)), since=0)
        update = await anext(watch)
        assert update.task is not None
        assert update.task.id == his.id
        await engine.delete_task(BOB, his.id)
        deleted = await anext(watch)
        assert (deleted.type, deleted.task and deleted.task.id) == (
            UpdateType.TASK_DELETED,
            his.id,
        )
        await watch.aclose()


async def test_log_is_followed_from_attempt_to_attempt(box: Box) -> None:
    async with box.engine() as engine:
        script = 'echo "attempt $FETCHML_ATTEMPT"; test $FETCHML_ATTEMPT = 2'
        task = await engine.create_task(
            ALICE, {"job_name": "flaky", "command": ["sh", "-c", script], "max_retries": 1}
        )
        async with asyncio.timeout(20):
            chunks = [chunk async for chunk in engine.read_logs(ALICE, task.id, follow=True)]
        assert [(chunk.attempt, chunk.data) for chunk in chunks] == [
            (1, b"attempt 1\n"),
            (2, b"attempt 2\n"),
        ]
        first = [chunk async for chunk in engine.read_logs(ALICE, task.id, attempt=1, offset=8)]
        assert [(chunk.offset, chunk.data) for chunk in first] == [(8, b"1\n")]
