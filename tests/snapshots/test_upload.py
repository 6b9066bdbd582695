"""Uploads of snapshots: limits, and a disk that is full."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fetchml.errors import Unavailable
from fetchml.snapshots import upload as uploads
from fetchml.snapshots.upload import MAX_UPLOADS
from fetchml.system.threads import WorkerThreads
from tests.snapshots.box import SLEEP, half_done, kept, names, upload
from tests.support.archives import file, packed, sent
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended


async def test_concurrent_uploads_of_one_tree_are_kept_once(box: Box) -> None:
    data = packed(*(file(str(n), b"x" * 1000) for n in range(50)))
    async with box.engine():
        answers = await asyncio.gather(
            *(box.snapshots.upload(who, sent(data)) for who in (ALICE, BOB, ADMIN))
        )
        assert sorted(is_new for _, is_new in answers) == [False, False, True]
        assert len({snapshot.id for snapshot, _ in answers}) == 1
        assert len(kept(box)) == 1
        assert half_done(box) == []


async def test_uploads_of_one_user_are_bounded_and_leave_nothing(box: Box) -> None:
    async with box.engine():
        endless = asyncio.Event()

        async def waiting() -> AsyncIterator[bytes]:
            yield b"x"
            await endless.wait()

        uploads = [
            asyncio.create_task(box.snapshots.upload(ALICE, waiting())) for _ in range(MAX_UPLOADS)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="concurrent uploads reached"):
            await box.snapshots.upload(ALICE, sent(SLEEP))
        await box.snapshots.upload(BOB, sent(SLEEP))
        for task in uploads:
            task.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)
        assert half_done(box) == []
        await box.snapshots.upload(ALICE, sent(SLEEP))


async def test_one_user_cannot_use_up_the_places_of_all(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_OF_ONE_USER", 2)
    async with box.engine():
        first = await upload(box, file("a", b"1"))
        await upload(box, file("a", b"2"))
        with pytest.raises(Unavailable, match=r"Per-user snapshot limit \(2\)"):
            await upload(box, file("a", b"3"))
        assert half_done(box) == []
        assert await upload(box, file("a", b"1")) != first, "what is there is used again"
        for other in (b"3", b"4"):
            await box.snapshots.upload(BOB, sent(packed(file("a", other))))
        await box.snapshots.delete(ALICE, first.id)
        await upload(box, file("a", b"5"))


async def test_a_full_disk_rejects_uploads_and_leaves_nothing(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = packed(*(file(str(n), b"x") for n in range(90)))

    def fills_up(work: WorkerThreads) -> None:
        """When a part is written."""
        room = iter([True] * 30)
        monkeypatch.setattr(work, "_has_room", lambda: next(room, False))

    async with box.engine() as engine:
        fills_up(box.snapshots.uploads._unpacking)
        with pytest.raises(Unavailable, match="disk is nearly full"):
            await box.snapshots.upload(ALICE, sent(data))
        assert half_done(box) == []
        monkeypatch.undo()
        snapshot, _ = await box.snapshots.upload(ALICE, sent(data))
        fills_up(box.snapshots.copies._copying)
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "snapshot_id": snapshot.id}
        )
        task = await ended(engine, task.id)
        assert task.error == "the server's disk is nearly full: free some space on it"
        assert names(box.data_dir / "tasks" / task.id / "attempts/1") == ["run"]
