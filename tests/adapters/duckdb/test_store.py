"""What the store keeps beyond plain reads: pruning, keys, days, its promises to waiters."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import duckdb
import pytest

from fetchml.adapters.duckdb import journal_writer, maintenance
from fetchml.adapters.duckdb.journal_writer import ANNOUNCED_AT_ONCE, Unstorable
from fetchml.core.audit import Action, AuditEntry
from fetchml.core.model import Change, Idempotency, Key, Role, Status
from fetchml.ports.store import AuditQuery, TaskQuery
from tests.support.stores import BERLIN, Opened, numbered, store_in
from tests.support.waiting import soon, until

DAY_MS = 24 * 3_600 * 1_000


async def until_pruned(opened: Opened, seq: int) -> None:
    await until(lambda: opened.store.changes_since(seq, 1), lambda changes: changes is None)


@pytest.mark.slow
async def test_changes_no_longer_kept_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "TICK_S", 0.01)
    monkeypatch.setattr(maintenance, "IDLE_S", 0.05)
    monkeypatch.setattr(maintenance, "PRUNE_ROWS", 7)
    async with store_in(tmp_path, journal_rows=10) as opened:
        for number in range(30):
            await opened.append(numbered(number))
        await until_pruned(opened, 19)
        kept = await opened.store.changes_since(20, 100)
        assert kept == opened.announced[20:]
        assert await opened.store.changes_since(30, 100) == []
        assert (await opened.store.list_tasks(TaskQuery())).total == 30
    async with store_in(tmp_path, journal_rows=10) as opened:
        assert opened.restored.last_seq == 30
        assert await opened.store.changes_since(19, 1) is None


async def test_day_of_the_end_is_that_of_the_time_zone_and_survives_deletes(tmp_path: Path) -> None:
    midnight = 1_743_289_200_000  # 2025-03-30 00:00 in Berlin, a day of 23 hours
    ends = [midnight - 1, midnight, midnight + 23 * 3_600_000 - 1, midnight + 23 * 3_600_000]
    async with store_in(tmp_path, time_zone=BERLIN) as opened:
        ended = [numbered(i, Status.COMPLETED, ended_at=at) for i, at in enumerate(ends)]
        await opened.append(*ended, numbered(4, Status.FAILED, ended_at=midnight), numbered(5))
        assert await opened.store.ended_on("2025-03-29") == (1, 0)
        assert await opened.store.ended_on("2025-03-30") == (2, 1)
        assert await opened.store.ended_on("2025-03-31") == (1, 0)
        await opened.append(numbered(1, Status.COMPLETED, ended_at=midnight, hidden=True))
        assert (await opened.store.list_tasks(TaskQuery())).total == 5
        assert await opened.store.ended_on("2025-03-30") == (2, 1)


async def test_a_service_is_no_task_of_the_statistics_or_the_audit(tmp_path: Path) -> None:
    at = 1_743_289_200_000
    async with store_in(tmp_path, time_zone=BERLIN) as opened:
        await opened.append(
            numbered(0, Status.COMPLETED, ended_at=at),
            numbered(1, Status.COMPLETED, ended_at=at, service=True),
            numbered(2, Status.RUNNING, service=True),
        )
        assert await opened.store.ended_on("2025-03-30") == (1, 0)
        created = await opened.store.list_audit(AuditQuery())
        assert [entry.target for entry in created] == ["task-000000"]
    async with store_in(tmp_path) as opened:
        assert opened.restored.counts == {("ann", Status.COMPLETED): 1}
        assert [found.id for found in opened.restored.live] == ["task-000002"]
        found = await opened.store.get("task-000001")
        assert found is not None
        assert found.service


async def test_idempotency_is_kept_for_a_day(tmp_path: Path) -> None:
    now = 1_000
    made = Idempotency("key", "digest")
    async with store_in(tmp_path, now_ms=lambda: now) as opened:
        await opened.append(numbered(0, idempotency=made, created_at=1_000))
        found = (await opened.store.find_idempotent("ann", ["key"])).get("key")
        assert found is not None
        assert (found.task_id, found.digest, found.at) == ("task-000000", "digest", 1_000)
        assert (await opened.store.find_idempotent("bob", ["key"])).get("key") is None
        now = 1_000 + DAY_MS
        assert (await opened.store.find_idempotent("ann", ["key"])).get("key") == found
        now += 1
        assert (await opened.store.find_idempotent("ann", ["key"])).get("key") is None
        # The key is used again, and then the first task changes once more.
        await opened.append(numbered(1, idempotency=made, created_at=now))
        await opened.append(numbered(0, Status.COMPLETED, idempotency=made, created_at=1_000))
        again = (await opened.store.find_idempotent("ann", ["key"])).get("key")
        assert again is not None
        assert again.task_id == "task-000001"
        await opened.store.list_tasks(TaskQuery())  # folds
        assert (await opened.store.find_idempotent("ann", ["key"])).get("key") == again


async def test_keys_are_replaced_by_id(tmp_path: Path) -> None:
    first = Key("k1", "digest-1", "ann", Role.ADMIN, 1)
    revoked = Key("k1", "digest-1", "ann", Role.ADMIN, 1, revoked_at=2)
    second = Key("k2", "digest-2", "bob", Role.VIEWER, 3)
    async with store_in(tmp_path) as opened:
        await opened.store.put_key(first)
        await opened.store.put_key(second)
        await opened.store.put_key(revoked)
    async with store_in(tmp_path) as opened:
        assert await opened.store.list_keys() == [revoked, second]


async def test_documents_are_replaced_by_kind_and_id(tmp_path: Path) -> None:
    async with store_in(tmp_path) as opened:
        store = opened.store
        await store.put_document("b", "2", b"two")
        await store.put_document("b", "1", b"first")
        await store.put_document("b", "1", b"one \0 \xff")
        await store.put_document("c", "1", b"of another kind")
    async with store_in(tmp_path) as opened:
        store = opened.store
        assert await store.list_documents("b") == [b"one \0 \xff", b"two"]
        await store.delete_document("b", "1")
        await store.delete_document("b", "no such")
        assert await store.list_documents("b") == [b"two"]
        await store.put_document("b", "1", b"again")
        assert await store.list_documents("a") == []
        assert await store.list_documents("c") == [b"of another kind"]
    async with store_in(tmp_path) as opened:
        assert await opened.store.list_documents("b") == [b"again", b"two"]


async def test_cancelled_waiter_leaves_the_others_of_its_commit_alone(tmp_path: Path) -> None:
    async with store_in(tmp_path) as opened:
        futures = [opened.append(numbered(number)) for number in range(3)]
        futures[1].cancel()
        await futures[0]
        await futures[2]
        assert [change.task.id for change in opened.announced] == [numbered(i).id for i in range(3)]


async def test_unencodable_value_fails_only_its_call(tmp_path: Path) -> None:
    async with store_in(tmp_path) as opened:
        changes = opened.number([numbered(0, error="\ud800")])
        with pytest.raises(UnicodeEncodeError):
            opened.store.append(changes)
        opened.last_seq -= 1
        await opened.append(numbered(0, error="nul \0, emoji \N{ROCKET}"))


BAD_ENTRIES = [
    AuditEntry("a", 1, Action.KEY_CREATE, "\udcff"),
    AuditEntry("a", 1 << 63, Action.KEY_CREATE, ""),
    AuditEntry("a", 1, Action.KEY_CREATE, "", detail=cast("str", object())),
]


@pytest.mark.parametrize("entry", BAD_ENTRIES)
async def test_an_audit_entry_that_cannot_be_written_harms_only_its_caller(
    tmp_path: Path, entry: AuditEntry
) -> None:
    good = AuditEntry("b", 1, Action.KEY_CREATE, "::1")
    async with store_in(tmp_path) as opened:
        before = opened.append(numbered(0))
        with pytest.raises(Unstorable):
            opened.store.append_audit(entry)
        await opened.store.append_audit(good)
        await before
        found = await opened.store.list_audit(AuditQuery(action=Action.KEY_CREATE))
        assert found == [good]


async def test_a_statement_that_cannot_be_executed_harms_only_its_caller(tmp_path: Path) -> None:
    """All of them in one commit, whatever it was that the first check let through."""
    put = "INSERT INTO keys VALUES ($1, $2)"
    async with store_in(tmp_path) as opened:
        writer = opened.store._writer
        with pytest.raises(Unstorable):
            writer.execute(put, ["k", "\ud800"])
        with opened.store._database.commits:  # what comes now waits for one commit
            changed = opened.append(numbered(0))
            bad = [
                writer.execute(put, ["only one"]),
                writer.execute("INSERT INTO keys VALUES ($1, NULL)", ["null"]),
                writer.execute("INSERT INTO keys SELECT $1, $2::INTEGER", ["k", "no number"]),
                writer.execute("INSERT INTO nothing VALUES ($1)", ["k"]),
            ]
            put_key = asyncio.ensure_future(opened.store.put_key(Key("k", "d", "n", Role.USER, 1)))
            audited = opened.store.append_audit(AuditEntry("b", 1, Action.KEY_CREATE, "::1"))
            await asyncio.sleep(0)
        await asyncio.gather(changed, put_key, audited)
        failures = await asyncio.gather(*bad, return_exceptions=True)
        assert all(isinstance(each, duckdb.Error) for each in failures), failures
        assert [key.id for key in await opened.store.list_keys()] == ["k"]
        await opened.append(numbered(1))
        assert await opened.store.get(numbered(0).id) == opened.announced[0].task


@pytest.mark.slow
async def test_commits_reads_folds_prunes_and_checkpoints_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "TICK_S", 0.005)
    monkeypatch.setattr(maintenance, "FOLD_ROWS", 50)
    monkeypatch.setattr(maintenance, "TAIL_ROWS", 100)
    monkeypatch.setattr(maintenance, "PRUNE_ROWS", 10)
    monkeypatch.setattr(maintenance, "BUSY_CHECKPOINT_BYTES", 50_000)
    async with store_in(tmp_path, journal_rows=50) as opened:

        async def write(writer: int) -> None:
            for number in range(writer * 1_000, writer * 1_000 + 40):
                for status in (Status.QUEUED, Status.RUNNING, Status.COMPLETED):
                    await opened.append(numbered(number, status))
                    found = await opened.store.get(numbered(number).id)
                    assert found is not None
                    assert found.status is status

        async def read() -> None:
            total = 0
            while not all(each.done() for each in writers):
                page = await opened.store.list_tasks(TaskQuery(limit=5))
                assert page.total >= total
                assert len(page.tasks) == min(5, page.total)
                total = page.total

        writers = [asyncio.create_task(write(number)) for number in range(8)]
        await asyncio.gather(*writers, read(), read())
        await until_pruned(opened, 0)
        page = await opened.store.list_tasks(TaskQuery(states=(Status.COMPLETED,), limit=0))
        assert page.total == 8 * 40


async def test_large_changes_are_folded_in_several_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database holds the data of one transaction several times."""
    take, taken = maintenance.Maintenance._take_span, list[int]()

    def recorded(self: maintenance.Maintenance, target: int) -> int:
        taken.append(take(self, target))
        return taken[-1]

    monkeypatch.setattr(maintenance.Maintenance, "_take_span", recorded)
    monkeypatch.setattr(maintenance, "SPAN_CHARACTERS", 2_500)
    async with store_in(tmp_path) as opened:
        await opened.append(*(numbered(n, error="x" * 1_000) for n in range(10)))
        page = await opened.store.list_tasks(TaskQuery(limit=20))
    assert [len(task.error or "") for task in page.tasks] == [1_000] * 10
    assert taken == [2, 4, 6, 8, 10]


async def test_large_commit_is_announced_in_parts_with_turns_of_others_in_between(
    tmp_path: Path,
) -> None:
    async with store_in(tmp_path) as opened:
        parts: list[tuple[int, int]] = []
        """Turns of another task so far, and number of changes."""
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        opened.store.subscribe(lambda changes: parts.append((turns, len(changes))))
        running = asyncio.create_task(other())
        count = 3 * ANNOUNCED_AT_ONCE + 1
        await opened.append(*(numbered(number) for number in range(count)))
        running.cancel()
        assert [change.seq for change in opened.announced] == [*range(1, count + 1)]
        assert [size for _, size in parts] == [ANNOUNCED_AT_ONCE] * 3 + [1]
        assert len({turn for turn, _ in parts}) == len(parts)


async def test_large_commit_is_handed_to_the_event_loop_as_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hand-over from thread to thread costs a switch of both."""
    async with store_in(tmp_path) as opened:
        loop = asyncio.get_running_loop()
        handed_over = Mock(wraps=loop.call_soon_threadsafe)
        monkeypatch.setattr(loop, "call_soon_threadsafe", handed_over)
        monkeypatch.setattr(journal_writer, "ANNOUNCED_AT_ONCE", 1)
        await opened.append(*(numbered(number) for number in range(50)))
        assert handed_over.call_count == 2


async def test_listener_that_fails_stops_neither_the_parts_nor_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "ANNOUNCED_AT_ONCE", 1)
    async with store_in(tmp_path) as opened:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: None)

        def fail_once(changes: Sequence[Change]) -> None:
            if changes[0].seq in (1, 2):
                raise ValueError

        opened.store.subscribe(fail_once)
        await soon(opened.append(*(numbered(number) for number in range(3))))
        await soon(opened.append(numbered(3)))
        assert [change.seq for change in opened.announced] == [1, 2, 3, 4]
