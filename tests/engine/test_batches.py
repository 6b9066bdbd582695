"""Watches in batches: the newest state of each task, no end missed, one work for all readers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from msgspec.structs import replace

from fetchml.core.model import Attempt, Principal, Requeue, Status, Task
from fetchml.engine.engine import Engine
from fetchml.engine.watches import batches, message_seq
from fetchml.engine.watches.watch import Watches
from fetchml.views import Batch, Update, UpdateType, WatchFilter
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended
from tests.support.waiting import soon

HELLO = {"job_name": "hello"}
FAILS = {"job_name": "fails", "command": ["false"]}
EVERYTHING = WatchFilter()
BEGIN = message_seq.up_to(0)


@asynccontextmanager
async def watching(
    engine: Engine,
    since: int = BEGIN,
    who: Principal = ADMIN,
    where: WatchFilter = EVERYTHING,
) -> AsyncIterator["Reader"]:
    async with aclosing(engine.batches.watch(who, where, since)) as stream:
        yield Reader(stream)


class Reader:
    def __init__(self, stream: AsyncIterator[Batch | Update]) -> None:
        self._stream = stream

    async def item(self) -> Batch | Update:
        return await soon(anext(self._stream))

    async def batch(self) -> Batch:
        item = await self.item()
        assert isinstance(item, Batch)
        return item


async def held(engine: Engine, number: int) -> list[Task]:
    """Tasks that wait, so that nothing changes them but the test."""
    request = {"job_name": "held", "hold": True}
    return list(await engine.submissions.create_tasks(ALICE, [request] * number))


async def test_batch_has_the_newest_state_of_each_task_once(box: Box) -> None:
    async with box.engine() as engine:
        done = await ended(engine, (await engine.submissions.create_task(ALICE, HELLO)).id)
        failed = await ended(engine, (await engine.submissions.create_task(ALICE, FAILS)).id)
        async with watching(engine, since=0) as reader:
            batch = await reader.batch()
        assert batch.tasks == (done, failed)
        assert (batch.seq, batch.deleted) == (21, ())
        await engine.changes.delete(ALICE, done.id)
        async with watching(engine, since=0) as reader:
            batch = await reader.batch()
        assert batch.tasks == (failed,)
        assert [(task.id, task.status) for task in batch.deleted] == [(done.id, Status.COMPLETED)]


@pytest.mark.slow
async def test_continues_after_any_message_of_any_watch(box: Box) -> None:
    """A number between an update and its complete is one of a client that has not seen the end."""
    async with box.engine() as engine:
        first = await ended(engine, (await engine.submissions.create_task(ALICE, HELLO)).id)
        second = await ended(engine, (await engine.submissions.create_task(ALICE, HELLO)).id)
        for since in range(20):
            async with watching(engine, since) as reader:
                batch = await reader.batch()
            expected = (first, second) if since < 11 else (second,)
            assert (since, batch.tasks, batch.seq) == (since, expected, 21)
        async with watching(engine, since=20) as reader:
            assert (await reader.batch()).tasks == (second,)
        async with watching(engine, since=21) as reader:
            [third] = await held(engine, 1)
            assert (await reader.batch()).tasks == (third,)


async def test_readers_at_one_place_share_their_batches(box: Box) -> None:
    async with (
        box.engine() as engine,
        watching(engine) as one,
        watching(engine, who=VIEWER) as other,
        watching(engine, where=WatchFilter(states=(Status.FAILED,))) as filtered,
    ):
        for _ in range(3):
            both = [asyncio.create_task(each.batch()) for each in (one, other)]
            await held(engine, 2)
            first, second = await asyncio.gather(*both)
            assert first is second
            assert len(first.tasks) == 2
        waits = asyncio.create_task(filtered.batch())
        failed = await ended(engine, (await engine.submissions.create_task(ALICE, FAILS)).id)
        assert (await waits).tasks == (failed,)


async def test_many_tasks_at_once_are_a_resync(box: Box) -> None:
    async with box.engine() as engine, watching(engine) as reader:
        await held(engine, batches.MAX_TASKS)
        assert len((await reader.batch()).tasks) == batches.MAX_TASKS
        await held(engine, batches.MAX_TASKS + 1)
        item = await reader.item()
        assert isinstance(item, Update)
        assert (item.type, item.seq) == (UpdateType.RESYNC, 4 * batches.MAX_TASKS + 3)
        [task] = await held(engine, 1)
        assert (await reader.batch()).tasks == (task,)


async def test_resync_is_followed_by_a_calm_and_that_by_a_batch(box: Box) -> None:
    second = batches.CALM_TICKS * batches.INTERVAL_SECONDS
    clock = asyncio.get_running_loop().time
    async with box.engine() as engine, watching(engine) as reader:
        await asyncio.sleep(second - clock() % second)  # Else the calm may be one tick long.
        await held(engine, batches.MAX_TASKS + 1)
        assert isinstance(await reader.item(), Update)
        first = int(clock() / second)
        await held(engine, batches.MAX_TASKS + 1)
        assert isinstance(await reader.item(), Update)
        assert int(clock() / second) > first
        tasks = await held(engine, batches.MAX_TASKS)
        assert (await reader.batch()).tasks == tuple(tasks)


async def test_batch_is_bounded_in_bytes_and_the_next_has_the_rest(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut is a place like any other: a reader that comes back with its number misses nothing."""
    monkeypatch.setattr(batches, "MAX_BYTES", 3000)
    async with box.engine() as engine:
        tasks = await held(engine, 5)
        # The first task changed again: its newest state comes after all others.
        tasks.append(await engine.changes.update(ALICE, tasks.pop(0).id, {"priority": 9}))
        seen: list[Task] = []
        since = 0
        while len(seen) < 5:
            async with watching(engine, since) as reader:
                batch = await reader.batch()
            assert 1 <= len(batch.tasks) <= 2
            seen += batch.tasks
            since = batch.seq
        assert seen == tasks
        monkeypatch.setattr(batches, "MAX_BYTES", 1)
        async with watching(engine, since=0) as reader:
            assert [(await reader.batch()).tasks for _ in range(5)] == [(task,) for task in tasks]


async def test_earlier_attempts_count_in_the_size_of_a_batch(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_BYTES", 20_000)
    attempts = (Attempt(1, Requeue.RETRY, exited_at=5, error="x" * 200),) * 20
    async with box.engine() as engine, watching(engine) as reader:
        tasks = await held(engine, 3)
        assert (await reader.batch()).tasks == tuple(tasks)
        tried = [replace(task, earlier_attempts=attempts) for task in tasks]
        await box.parts.dispatcher.record(6, tried)
        assert [(await reader.batch()).tasks for _ in tried] == [(task,) for task in tried]


async def test_changes_that_are_no_longer_kept_are_a_resync(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.engine() as engine:
        await held(engine, 3)

        async def gone(_self: Watches, seen: int) -> None:
            assert seen == 1

        monkeypatch.setattr(Watches, "changes_after", gone)
        async with watching(engine, since=3) as reader:
            item = await reader.item()
            assert isinstance(item, Update)
            assert (item.type, item.seq) == (UpdateType.RESYNC, 7)


async def test_private_mode_shares_no_batch_between_users(box: Box) -> None:
    async with (
        box.engine(private=True) as engine,
        watching(engine, who=ALICE) as hers,
        watching(engine, who=BOB) as his,
        watching(engine, who=ADMIN) as all_,
    ):
        of_alice = await engine.submissions.create_task(ALICE, {"job_name": "hers", "hold": True})
        of_bob = await engine.submissions.create_task(BOB, {"job_name": "his", "hold": True})
        readings = [asyncio.create_task(each.batch()) for each in (hers, his, all_)]
        seen = [batch.tasks for batch in await asyncio.gather(*readings)]
        assert seen == [(of_alice,), (of_bob,), (of_alice, of_bob)]


async def test_reader_that_leaves_holds_up_no_other(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it makes the batch that others wait for."""
    begun, blocked = asyncio.Event(), asyncio.Event()
    changes_after = Watches.changes_after

    async def slow(self: Watches, seen: int) -> object:
        begun.set()
        await blocked.wait()
        return await changes_after(self, seen)

    async with box.engine() as engine, watching(engine) as one, watching(engine) as other:
        monkeypatch.setattr(Watches, "changes_after", slow)
        [task] = await held(engine, 1)
        leaves = asyncio.create_task(one.batch())
        stays = asyncio.create_task(other.batch())
        await soon(begun.wait())
        leaves.cancel()
        await asyncio.wait([leaves])
        blocked.set()
        assert (await stays).tasks == (task,)
