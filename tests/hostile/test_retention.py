"""Old and unused records are removed by request and by age, with permission only."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fetchml.core.audit import Action
from fetchml.core.model import Kept, Status, Task
from fetchml.core.storage import Kind
from fetchml.engine.engine import Engine
from fetchml.engine.watches import message_seq
from fetchml.errors import Forbidden, NotFound, ValidationFailed
from fetchml.ports.store import AuditQuery, OldTasks
from fetchml.views import WatchFilter
from tests.hostile.storage_box import HOUR_MS, retention, script, used
from tests.support.archives import file, packed, sent
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended
from tests.support.stores import numbered, store_in
from tests.support.waiting import SECONDS


async def three_ended(box: Box, engine: Engine) -> dict[str, Task]:
    """Of alice one that completed and one that failed, of bob one; all with outputs."""
    made = {}
    for name, who, end in (("good", ALICE, 0), ("bad", ALICE, 1), ("bobs", BOB, 0)):
        text = f"echo said; echo x > $FETCHML_OUTPUTS/x; exit {end}"
        done = await ended(engine, (await engine.submissions.create_task(who, script(text))).id)
        made[name] = done
    return made


async def test_users_prune_their_own_records_and_admins_all(box: Box) -> None:
    async with box.engine(private=True) as engine:
        made = await three_ended(box, engine)
        prune = retention(box, engine).prune
        everything = {"older_than_seconds": 0}
        await asyncio.sleep(0.01)
        for who in (ALICE, BOB):
            with pytest.raises(Forbidden, match="Only an admin"):
                await prune(who, {**everything, "user_id": "somebody"})
        with pytest.raises(Forbidden, match="Viewers"):
            await prune(VIEWER, everything)
        counted = await prune(ALICE, everything)
        assert (counted.tasks, counted.left) == (2, 0)
        assert counted.bytes > 0
        assert (await prune(ADMIN, everything)).tasks == 3
        assert (await prune(ADMIN, {**everything, "user_id": "bob"})).tasks == 1
        assert (await prune(ALICE, {**everything, "states": ["failed"]})).tasks == 1
        assert (await prune(ALICE, {"older_than_seconds": 3600, "apply": True})).tasks == 0
        removed = await prune(ALICE, {**everything, "apply": True})
        assert (removed.tasks, removed.bytes, removed.left) == (2, counted.bytes, 0)
        for name in ("good", "bad"):
            with pytest.raises(NotFound):
                await engine.tasks.get(ADMIN, made[name].id)
            assert not (box.data_dir / "tasks" / made[name].id).exists()
        assert (await engine.tasks.get(BOB, made["bobs"].id)).status is Status.COMPLETED
        assert not box.usage.of("alice").total.bytes
        stats = await engine.status.queue_stats(ADMIN)
        assert (stats.completed, stats.failed) == (2, 1), "statistics go on"
        [entry] = await box.parts.store.list_audit(AuditQuery(action=Action.STORAGE_PRUNE))
        assert (entry.user, entry.target) == ("alice", "alice")
        assert entry.detail is not None
        assert "2 tasks" in entry.detail


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"older_than_seconds": -1},
        {"older_than_seconds": 1, "kinds": ["keys"]},
        {"older_than_seconds": 1, "states": ["running"]},
        {"older_than_seconds": 1, "user_id": "a\nb"},
        {"older_than_seconds": 1, "apply": "yes"},
    ],
)
async def test_invalid_prune_request_removes_nothing(box: Box, request_: dict[str, Any]) -> None:
    async with box.engine() as engine:
        with pytest.raises(ValidationFailed):
            await retention(box, engine).prune(ADMIN, request_)


@pytest.mark.slow
async def test_pruning_only_outputs_is_not_announced_to_watchers(box: Box) -> None:
    async with box.engine() as engine:
        made = await three_ended(box, engine)
        last = message_seq.up_to(box.parts.feed.last_seq)
        await asyncio.sleep(0.01)
        wanted = {"older_than_seconds": 0, "kinds": ["outputs"], "apply": True}
        removed = await retention(box, engine).prune(ADMIN, wanted)
        assert (removed.outputs, removed.tasks) == (3, 0)
        assert await engine.outputs.list(ADMIN, made["good"].id) == []
        assert await engine.logs.tail(await engine.tasks.get(ADMIN, made["good"].id)) == "said\n"
        assert (await retention(box, engine).prune(ADMIN, wanted)).outputs == 0
        assert not used(box, ALICE, Kind.OUTPUTS)
        assert used(box, ALICE, Kind.LOGS) > 0
        stats = await engine.status.queue_stats(ADMIN)
        assert (stats.completed, stats.failed) == (2, 1)
        watch = engine.watches.watch(ADMIN, WatchFilter(), since=last)
        await engine.submissions.create_task(ALICE, script("true"))
        async with asyncio.timeout(SECONDS):
            first = await anext(watch)
        assert first.task is not None
        assert first.task.id not in {each.id for each in made.values()}
        await watch.aclose()
        before = box.usage.of("alice").used[Kind.OUTPUTS]
    async with box.engine():
        assert box.usage.of("alice").used[Kind.OUTPUTS] == before


async def test_unused_snapshots_are_pruned_by_their_uploader(box: Box) -> None:
    async with box.engine() as engine:
        mine, _ = await box.snapshots.upload(ALICE, sent(packed(file("mine", b"x"))))
        ours = packed(file("ours", b"x"))
        await box.snapshots.upload(ALICE, sent(ours))
        await box.snapshots.upload(BOB, sent(ours))
        named, _ = await box.snapshots.upload(ALICE, sent(packed(file("named", b"x"))))
        request = {**script("sleep 1000"), "snapshot_id": named.id}
        live = await engine.submissions.create_task(ALICE, request)
        await asyncio.sleep(0.01)
        wanted = {"older_than_seconds": 0, "kinds": ["snapshots"]}
        prune = retention(box, engine).prune
        assert (await prune(BOB, wanted)).snapshots == 0
        assert (await prune(ALICE, wanted)).snapshots == 1
        assert (await prune(ALICE, {**wanted, "apply": True})).snapshots == 1
        left = {each.id for each in box.snapshots.list(ADMIN)}
        assert mine.id not in left
        assert len(left) == 2
        await engine.changes.cancel(ALICE, live.id)
        await ended(engine, live.id)


async def test_records_older_than_the_settings_are_removed(box: Box) -> None:
    async with box.engine() as engine:
        made = await three_ended(box, engine)
        await retention(box, engine, keep_ms=HOUR_MS, outputs_keep_ms=HOUR_MS).remove_old()
        assert await engine.outputs.list(ADMIN, made["good"].id)
        await asyncio.sleep(0.01)
        await retention(box, engine, outputs_keep_ms=1).remove_old()
        assert not await engine.outputs.list(ADMIN, made["good"].id)
        await engine.tasks.get(ADMIN, made["good"].id)
        await retention(box, engine, keep_ms=1).remove_old()
        for each in made.values():
            with pytest.raises(NotFound):
                await engine.tasks.get(ADMIN, each.id)
        assert not list((box.data_dir / "tasks").iterdir())


async def test_old_rows_are_removed_in_batches_and_stay_counted(tmp_path: Path) -> None:
    day_ms = 24 * HOUR_MS
    async with store_in(tmp_path, keep_ms=day_ms, now_ms=lambda: 10 * day_ms) as opened:
        number = 2_500
        gone = {"ended_at": 2 * day_ms, "hidden": True}
        await opened.append(*(numbered(each, Status.COMPLETED, **gone) for each in range(number)))
        shown = numbered(number, Status.COMPLETED, ended_at=2 * day_ms)
        young = numbered(number + 1, Status.FAILED, ended_at=10 * day_ms, hidden=True)
        await opened.append(shown, young)
        upkeep = opened.store._maintenance
        await asyncio.to_thread(upkeep.stop)  # Else it does the same when it is idle.
        rounds = 0
        while upkeep._has_old_rows:
            upkeep._remove_old_rows()
            rounds += 1
        assert rounds == 3
        assert await opened.store.get(numbered(0).id) is None
        assert await opened.store.get(shown.id) is not None
        assert await opened.store.get(young.id) is not None
        cursor = opened.store._database.cursor()
        counted = cursor.execute("SELECT usr, status, number FROM removed_tasks").fetchall()
        assert counted == [("ann", "completed", number)]


async def test_old_tasks_are_listed_in_creation_order(tmp_path: Path) -> None:
    async with store_in(tmp_path) as opened:
        kept = Kept(outputs_bytes=10, outputs_files=1, logs_bytes=5, logs_files=2)
        done = [numbered(each, Status.COMPLETED, ended_at=each, kept=kept) for each in range(10)]
        await opened.append(*done, numbered(11), numbered(12, Status.FAILED, ended_at=1))
        found = await opened.store.old_tasks(OldTasks(5, limit=3))
        assert [each.ended_at for each in found] == [0, 1, 2]
        after = (found[-1].created_at, found[-1].id)
        found = await opened.store.old_tasks(OldTasks(5, limit=9, after=after))
        assert [each.ended_at for each in found] == [3, 4, 1]
        counted = await opened.store.count_old_tasks(OldTasks(5, states=(Status.COMPLETED,)))
        assert (counted.tasks, counted.kept.outputs_bytes, counted.kept.logs_files) == (5, 50, 10)
        by_user = await opened.store.kept_by_user()
        assert by_user == {"ann": Kept(100, 10, 50, 20)}
