"""Large batches enter in several turns of the event loop, and are durable in one commit."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import Mock

import pytest

from fetchml.core.audit import Action, AuditEntry
from fetchml.core.events import BatchAnnounced
from fetchml.core.model import Principal, Role, Task
from fetchml.engine.arrivals import PART
from fetchml.engine.experiments.known import KnownExperiments
from fetchml.engine.named_snapshots import NamedSnapshots
from fetchml.errors import Unavailable
from fetchml.ports.store import AuditQuery, TaskQuery
from fetchml.system import pacing
from tests.support.memory_engine import MemoryEngine, memory_engine
from tests.support.memory_store import nothing_stored
from tests.support.waiting import soon

ALICE = Principal("alice", Role.USER, "key-a")
BOB = Principal("bob", Role.USER, "key-b")
SIZE = 5 * PART


@pytest.fixture
async def box(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryEngine]:
    """Others have their turn after every part."""
    monkeypatch.setattr(pacing, "LONGEST_SECONDS", 0.0)
    monkeypatch.setattr(pacing, "SHORT_SECONDS", 0.0)
    async with memory_engine() as made:
        yield made


async def arriving(box: MemoryEngine) -> "asyncio.Task[list[Task]]":
    """Alice's batch, of which the first part has entered."""
    requests = [{"job_name": f"a{number}"} for number in range(SIZE)]
    batch = asyncio.create_task(box.engine.create_tasks(ALICE, requests))
    state = box.parts.state
    while state.arrival is None or state.arrival.tasks == SIZE:  # noqa: ASYNC110 - each turn
        await asyncio.sleep(0)
    return batch


def in_the_store(box: MemoryEngine) -> list[str]:
    return [change.task.spec.job_name for change in box.store.journal]


async def test_nothing_is_durable_before_the_batch_is_whole(box: MemoryEngine) -> None:
    """What others submit meanwhile is neither; it is answered with the batch."""
    batch = await arriving(box)
    other = asyncio.create_task(box.engine.create_task(BOB, {"job_name": "b"}))
    while box.parts.state.arrival is not None:
        assert in_the_store(box) == []
        assert not other.done()
        await asyncio.sleep(0)
    assert len(await soon(batch)) == SIZE
    await soon(other)
    changes = [each for each in box.store.journal if each.task.attempt == 0]
    assert [each.seq for each in box.store.journal] == [*range(1, len(box.store.journal) + 1)]
    assert len(changes) == SIZE + 1
    ages = [(each.task.created_at, each.task.id) for each in changes]
    assert ages == sorted(ages), "the newest is the last one, for pages from memory"
    page = await box.engine.list_tasks(ALICE, TaskQuery(limit=1000))
    assert [each.id for each in page.tasks] == [task_id for _, task_id in reversed(ages)]


async def test_no_change_beside_a_batch_is_durable_without_its_audit_entry(
    box: MemoryEngine,
) -> None:
    """The entry may be on the disk first. The change is answered with both there."""
    first = await soon(box.engine.create_task(BOB, {"job_name": "first", "hold": True}))
    batch = await arriving(box)
    cancel = asyncio.create_task(box.engine.cancel_task(BOB, first.id))
    entries: list[AuditEntry] = []
    while box.parts.state.arrival is not None:
        assert not cancel.done()
        assert in_the_store(box) == ["first"]
        entries = await box.store.list_audit(AuditQuery(action=Action.TASK_CANCEL, limit=10))
        await asyncio.sleep(0)
    assert [entry.target for entry in entries] == [first.id]
    await soon(asyncio.gather(batch, cancel))
    assert in_the_store(box).count("first") == 2


async def test_batch_of_a_caller_that_leaves_enters_wholly(box: MemoryEngine) -> None:
    batch = await arriving(box)
    batch.cancel()
    await asyncio.wait([batch])
    await soon(box.parts.dispatcher.settled())
    assert len(in_the_store(box)) >= SIZE
    assert box.parts.state.arrival is None


async def test_batches_enter_one_after_the_other(box: MemoryEngine) -> None:
    first = await arriving(box)
    second = asyncio.create_task(
        box.engine.create_tasks(BOB, [{"job_name": f"b{number}"} for number in range(SIZE)])
    )
    await soon(asyncio.gather(first, second))
    entered = [change.task for change in box.store.journal if change.task.attempt == 0]
    assert [task.user for task in entered] == ["alice"] * SIZE + ["bob"] * SIZE


async def test_drain_waits_for_the_batch_that_arrives_and_lets_no_other_in(
    box: MemoryEngine,
) -> None:
    first = await arriving(box)
    requests = [{"job_name": "b"} for _ in range(SIZE)]
    second = asyncio.create_task(box.engine.create_tasks(BOB, requests))
    await asyncio.sleep(0)  # It was let in before, and waits for its turn.
    await soon(box.parts.lifecycle.drain())
    assert len(in_the_store(box)) == SIZE
    assert len(await soon(first)) == SIZE
    with pytest.raises(Unavailable, match="shutting down"):
        await soon(second)
    assert len(in_the_store(box)) == SIZE


async def test_batch_with_a_fault_in_a_part_leaves_nothing(
    box: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others have submitted between its parts becomes durable, with numbers in a row."""
    first = await soon(box.engine.create_task(BOB, {"job_name": "first", "hold": True}))
    batch = await arriving(box)
    meanwhile = asyncio.create_task(box.engine.create_task(BOB, {"job_name": "meanwhile"}))
    cancel = asyncio.create_task(box.engine.cancel_task(BOB, first.id))
    while len(box.parts.state.tasks) < 2 * PART + 1:  # noqa: ASYNC110 - each turn
        await asyncio.sleep(0)
    monkeypatch.setattr(box.parts.ids, "next", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        await soon(batch)
    monkeypatch.undo()
    await soon(asyncio.gather(meanwhile, cancel))
    await soon(box.engine.create_task(BOB, {"job_name": "b"}))
    await soon(box.parts.dispatcher.settled())
    assert box.parts.state.arrival is None
    assert {*in_the_store(box)} == {"first", "meanwhile", "b"}
    assert [each.seq for each in box.store.journal] == [*range(1, len(box.store.journal) + 1)]
    assert {each.user for each in box.parts.state.tasks.values()} <= {"bob"}


async def test_fault_in_a_part_is_no_end_of_waiting_for_the_disk(
    box: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else has changed meanwhile, so nothing is stored."""
    batch = await arriving(box)
    monkeypatch.setattr(box.parts.ids, "next", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        await soon(batch)
    await soon(box.parts.dispatcher.settled())
    assert in_the_store(box) == []


async def test_snapshots_of_an_arriving_batch_are_in_use(box: MemoryEngine) -> None:
    box.parts.dispatcher.apply(
        BatchAnnounced(1, "alice", [1_000], snapshots=frozenset({"snapshot"}))
    )
    known = await KnownExperiments.load(box.store, nothing_stored())
    named = NamedSnapshots(box.parts.state, known.records)
    assert named() == named("alice") == frozenset({"snapshot"})
    assert named("bob") == frozenset()
