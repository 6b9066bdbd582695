"""The list of waiting tasks, against a real engine."""

import pytest

from fetchml.engine.engine import Engine
from fetchml.errors import BadRequest
from fetchml.views import WaitingList
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended, running

SLEEP = {"job_name": "sleep", "command": ["sleep", "1000"]}
WAIT = {"job_name": "wait", "command": ["true"]}


def places(found: WaitingList) -> list[tuple[str, int | None]]:
    return [(each.task.id, each.position) for each in found.tasks]


async def filled(engine: Engine) -> list[str]:
    """Ids of waiting tasks in their order: of alice, bob, alice."""
    holds = await engine.submissions.create_task(ADMIN, SLEEP)
    await running(engine, holds.id)
    made = [await engine.submissions.create_task(who, WAIT) for who in (ALICE, ALICE, BOB)]
    await engine.changes.update(ALICE, made[1].id, {"priority": 1})
    return [made[0].id, made[2].id, made[1].id]


async def test_waiting_tasks_come_in_order_with_reason_and_estimate(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        ids = await filled(engine)
        found = await engine.tasks.waiting(VIEWER)
        assert places(found) == list(zip(ids, (1, 2, 3), strict=True))
        assert found.total == 3
        for waiting in found.tasks:
            explained = await engine.tasks.explain(VIEWER, waiting.task.id)
            assert (waiting.reason, waiting.position) == (explained.reason, explained.position)
            assert waiting.estimate is not None
        assert places(await engine.tasks.waiting(VIEWER, 2)) == places(found)[:2]
        assert await engine.tasks.waiting(VIEWER, 0) == WaitingList([], 3)
        for limit in (-1, 1001):
            with pytest.raises(BadRequest, match="limit"):
                await engine.tasks.waiting(VIEWER, limit)
        await engine.changes.cancel(ALICE, ids[0])
        assert places(await engine.tasks.waiting(BOB)) == [(ids[1], 1), (ids[2], 2)]


async def test_private_server_lists_own_tasks_at_their_true_places(box: Box) -> None:
    async with box.engine(max_running=1, private=True) as engine:
        ids = await filled(engine)
        alice = await engine.tasks.waiting(ALICE)
        assert places(alice) == [(ids[0], 1), (ids[2], 3)]
        assert alice.total == 2
        assert places(await engine.tasks.waiting(ALICE, 1)) == [(ids[0], 1)]
        assert places(await engine.tasks.waiting(BOB)) == [(ids[1], 2)]
        assert await engine.tasks.waiting(VIEWER) == WaitingList([], 0)
        assert len((await engine.tasks.waiting(ADMIN)).tasks) == 3
        assert not any(ids[1] in waiting.reason for waiting in alice.tasks)


async def test_delayed_retry_comes_last_without_a_place(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        fails = {"job_name": "fails", "command": ["false"], "max_retries": 1}
        failed = await engine.submissions.create_task(ALICE, fails)
        while not (task := await engine.tasks.get(ALICE, failed.id)).retry_count:
            await box.parts.feed.beyond(box.parts.feed.last_seq)
        holds = await engine.submissions.create_task(ALICE, SLEEP)
        waits = await engine.submissions.create_task(BOB, WAIT)
        found = await engine.tasks.waiting(BOB)
        if not task.not_before or failed.id not in dict(places(found)):
            return  # the delay is over already
        assert found.tasks[-1].task.id == failed.id
        assert found.tasks[-1].position is None
        assert found.tasks[-1].reason.startswith("It is tried again in")
        assert waits.id in dict(places(found))
        await engine.changes.cancel(ALICE, failed.id)
        await engine.changes.cancel(ALICE, holds.id)
        await ended(engine, holds.id)
