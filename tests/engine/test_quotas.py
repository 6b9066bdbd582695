"""What one user may have of the box, and what each has had."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

import msgspec
import pytest

from fetchml.adapters.duckdb.store import DuckDBStore
from fetchml.core.model import Resources, Status
from fetchml.core.state import Limits
from fetchml.engine.share_store import KIND, Saved, ShareStore
from fetchml.errors import QueueQuotaReached, ValidationFailed
from fetchml.ports.store import StoredState
from tests.support.engine_box import ALICE, BOB, Box, ended, running

LIMITS = Limits(Resources(2, 8, 1), 4, 600_000, "box")
WAIT = {"job_name": "a", "command": ["sleep", "60"], "gpu": 1}
SHORT = {"job_name": "a", "command": ["true"], "gpu": 1}


@asynccontextmanager
async def opened(box: Box) -> AsyncIterator[tuple[DuckDBStore, StoredState]]:
    """What an engine finds at its start."""
    store = DuckDBStore(box.data_dir, time_zone=ZoneInfo("UTC"), min_free_bytes=0)
    restored = await store.open(recent_limit=10, on_fatal=print)
    yield store, restored
    await store.close()


async def test_waiting_tasks_of_a_user_are_limited(box: Box) -> None:
    async with box.engine(user_queued=2) as engine:
        blocker = await engine.submissions.create_task(ALICE, WAIT)
        await running(engine, blocker.id)
        await engine.submissions.create_task(ALICE, SHORT)
        with pytest.raises(QueueQuotaReached, match="limit of 2 waiting tasks"):
            await engine.submissions.create_tasks(ALICE, [SHORT, SHORT])
        again = await engine.submissions.create_task(ALICE, SHORT, "key")
        for _ in range(2):
            with pytest.raises(QueueQuotaReached, match="alice has 2"):
                await engine.submissions.create_task(ALICE, SHORT)
        assert (await engine.submissions.create_task(ALICE, SHORT, "key")).id == again.id, (
            "it is no new one"
        )
        await engine.submissions.create_tasks(BOB, [SHORT, SHORT])
        await engine.changes.cancel(ALICE, again.id)
        await engine.submissions.create_task(ALICE, SHORT)
        await engine.changes.cancel(ALICE, blocker.id)
        await ended(engine, blocker.id)


async def test_more_gpus_than_the_quota_are_rejected_at_once(box: Box) -> None:
    async with box.engine(gpu=4, user_gpus=2) as engine:
        with pytest.raises(ValidationFailed, match="gpu: requests 3, but the limit per user is 2"):
            await engine.submissions.create_task(ALICE, {**SHORT, "gpu": 3})
        task = await engine.submissions.create_task(ALICE, {**SHORT, "gpu": 2})
        assert (await ended(engine, task.id)).status is Status.COMPLETED


async def test_a_service_counts_as_a_task(box: Box) -> None:
    async with box.engine(gpu=2, user_gpus=1, user_queued=1) as engine:
        with pytest.raises(ValidationFailed, match="gpu: requests 2, but the limit per user is 1"):
            await box.jupyter.start(ALICE, {"name": "lab", "gpu": 2})
        blocker = await engine.submissions.create_task(ALICE, WAIT)
        await running(engine, blocker.id)
        waiting = await engine.submissions.create_task(ALICE, SHORT)
        with pytest.raises(QueueQuotaReached, match="limit of 1 waiting tasks"):
            await box.jupyter.start(ALICE, {"name": "lab", "gpu": 1})
        assert box.jupyter.list(ALICE) == []
        await engine.changes.cancel(ALICE, waiting.id)
        await engine.changes.cancel(ALICE, blocker.id)
        await ended(engine, blocker.id)


@pytest.mark.parametrize("is_lost", [False, True])
async def test_shares_survive_a_restart(box: Box, is_lost: bool) -> None:
    """`is_lost`: what was written last is from before the task's end, as after a crash."""
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, {**SHORT, "command": ["sleep", "0.2"]})
        task = await ended(engine, task.id)
        assert task.end is not None
    if is_lost:
        async with opened(box) as (store, _):
            before = msgspec.json.encode(Saved(task.end.at - 1, {}))
            await store.put_document(KIND, KIND, before)
    async with opened(box) as (store, restored):
        used = await ShareStore(store, lambda: 0).load(restored, LIMITS)
    assert used.keys() == {"alice"}
    assert 0.2 <= used["alice"].gpu_seconds < 10
