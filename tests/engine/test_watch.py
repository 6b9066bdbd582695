"""Watches: complete, in order, resumable, and nothing kept for the slow."""

import asyncio
import contextlib

import pytest

from fetchml.core.model import Status
from fetchml.core.requests.logs import LogRange
from fetchml.engine import feed
from fetchml.engine.engine import Engine
from fetchml.views import Update, UpdateType, WatchFilter
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended
from tests.support.waiting import SECONDS

HELLO = {"job_name": "hello"}
EVERYTHING = WatchFilter()


async def take(
    engine: Engine,
    number: int,
    since: int,
    where: WatchFilter = EVERYTHING,
    *,
    completes: bool = False,
) -> list[Update]:
    """The next `number` updates after `since`."""
    taken = []
    watch = engine.watches.watch(ADMIN, where, since, completes=completes)
    async with asyncio.timeout(SECONDS), contextlib.aclosing(watch) as updates:
        async for update in updates:
            taken.append(update)
            if len(taken) == number:
                break
    return taken


async def test_story_of_a_task_is_whole_and_in_order(box: Box) -> None:
    async with box.engine() as engine:
        task = await ended(engine, (await engine.submissions.create_task(ALICE, HELLO)).id)
        updates = await take(engine, 5, since=0)
        assert [update.seq for update in updates] == [2, 4, 6, 8, 10]
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
        assert await take(engine, 2, since=6) == updates[3:]


@pytest.mark.slow
async def test_end_has_a_message_of_its_own_for_those_that_ask(box: Box) -> None:
    async with box.engine() as engine:
        for _ in range(2):
            await ended(engine, (await engine.submissions.create_task(ALICE, HELLO)).id)
        told = await take(engine, 12, since=0, completes=True)
        assert [(each.type, each.seq) for each in told[4:7]] == [
            (UpdateType.TASK_UPDATE, 10),
            (UpdateType.TASK_COMPLETE, 11),
            (UpdateType.TASK_UPDATE, 12),
        ]
        assert told[4].task == told[5].task
        only = WatchFilter(states=(Status.COMPLETED,))
        ends = [told[4], told[5], told[10], told[11]]
        assert await take(engine, 4, since=0, where=only, completes=True) == ends
        assert await take(engine, 1, since=told[4].seq, completes=False) == [told[6]]
        assert await take(engine, 1, since=told[5].seq, completes=False) == [told[6]]
    for _ in range(2):
        async with box.engine() as engine:
            for cut in range(11):
                rest = told[cut + 1 :]
                since = told[cut].seq
                assert await take(engine, len(rest), since=since, completes=True) == rest
                later = [end for end in ends if end.seq > since]
                assert await take(engine, len(later), since, only, completes=True) == later


async def test_pruned_end_is_a_resync(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its complete may be owed, and nothing is left to tell."""
    async with box.engine() as engine:
        await ended(engine, (await engine.submissions.create_task(ALICE, HELLO)).id)

        async def pruned(seq: int, limit: int) -> None:
            assert seq == 4

        monkeypatch.setattr(box.parts.store, "changes_since", pruned)
        monkeypatch.setattr(box.parts.feed, "_changes", [])
        [update] = await take(engine, 1, since=10, completes=True)
        assert (update.type, update.seq) == (UpdateType.RESYNC, 11)


async def test_reader_that_falls_behind_reads_from_disk(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "KEPT", 2)
    async with box.engine(max_running=1) as engine:
        watch = engine.watches.watch(ADMIN, WatchFilter(), snapshot=True)
        seen = (await anext(watch)).seq
        first = seen + 1
        await engine.submissions.create_tasks(ALICE, [HELLO] * 20)
        await engine.submissions.create_tasks(ALICE, [HELLO] * 20)
        for _ in range(41):
            update = await anext(watch)
            assert update.seq == seen + (1 if update.seq == first else 2)
            seen = update.seq
        await watch.aclose()


@pytest.mark.slow
async def test_unknown_seq_causes_a_resync(box: Box) -> None:
    async with box.engine() as engine:
        for since in (2, 3, 10**9):
            for completes in (True, False):
                [update] = await take(engine, 1, since=since, completes=completes)
                assert (update.type, update.seq) == (UpdateType.RESYNC, 1)


async def test_watch_shows_only_visible_tasks_that_match(box: Box) -> None:
    async with box.engine(private=True) as engine:
        hers = await engine.submissions.create_task(ALICE, {"job_name": "hers"})
        his = await engine.submissions.create_task(BOB, {"job_name": "his"})
        await ended(engine, hers.id)
        await ended(engine, his.id)
        watch = engine.watches.watch(BOB, WatchFilter(states=(Status.COMPLETED,)), since=0)
        update = await anext(watch)
        assert update.task is not None
        assert update.task.id == his.id
        await engine.changes.delete(BOB, his.id)
        deleted = await anext(watch)
        assert (deleted.type, deleted.task and deleted.task.id) == (
            UpdateType.TASK_DELETED,
            his.id,
        )
        await watch.aclose()


async def test_log_is_followed_from_attempt_to_attempt(box: Box) -> None:
    async with box.engine() as engine:
        script = 'echo "attempt $FETCHML_ATTEMPT"; test $FETCHML_ATTEMPT = 2'
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "flaky", "command": ["sh", "-c", script], "max_retries": 1}
        )
        async with asyncio.timeout(SECONDS):
            chunks = [chunk async for chunk in engine.logs.read(ALICE, task.id, follow=True)]
        assert [(chunk.attempt, chunk.data) for chunk in chunks] == [
            (1, b"attempt 1\n"),
            (2, b"attempt 2\n"),
        ]
        first = [
            chunk async for chunk in engine.logs.read(ALICE, task.id, LogRange(attempt=1, offset=8))
        ]
        assert [(chunk.offset, chunk.data) for chunk in first] == [(8, b"1\n")]
