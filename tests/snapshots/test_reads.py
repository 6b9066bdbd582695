"""The list of a snapshot's files: it keeps nobody else waiting."""

import asyncio
import gc
import threading
import time

import pytest

from fetchml.core.snapshots import Entry, EntryKind, entries_of, manifest
from fetchml.snapshots.snapshot_service import MAX_LISTS
from tests.hostile.turns import LONGEST_SECONDS, TRIES
from tests.snapshots.box import upload
from tests.support.archives import file, packed, sent
from tests.support.engine_box import ALICE, BOB, Box
from tests.support.waiting import soon, until_true

FILES = 100_000


def longest_step(data: bytes) -> float:
    """Time of the thread for the slowest of all entries, during which no other thread runs."""
    entries = iter(entries_of(data))
    longest, count, before = 0.0, 0, time.thread_time()
    for _ in entries:
        now = time.thread_time()
        longest, count, before = max(longest, now - before), count + 1, now
    assert count == FILES
    return longest


def test_large_manifest_is_decoded_in_small_steps() -> None:
    data = manifest(Entry(f"é{n:06}", EntryKind.FILE, n, f"{n:064x}") for n in range(FILES))
    gc.collect()
    gc.freeze()
    try:
        assert any(longest_step(data) < LONGEST_SECONDS for _ in range(TRIES))
    finally:
        gc.unfreeze()


async def test_lists_of_one_user_leave_room_for_others(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.engine():
        slow = await upload(box, file("slow"))
        (quick, _) = await box.snapshots.upload(BOB, sent(packed(file("quick"))))
        reads = box.snapshots.reads
        began, go_on = [], threading.Event()

        def entries(snapshot_id: str) -> list[Entry]:
            if snapshot_id == slow.id:
                began.append(snapshot_id)
                go_on.wait()
            return []

        monkeypatch.setattr(reads._files, "entries", entries)
        lists = [asyncio.create_task(reads.list(ALICE, slow.id)) for _ in range(MAX_LISTS + 1)]
        try:
            await until_true(lambda: bool(began))
            assert (await soon(reads.list(BOB, quick.id))).total == 0
            assert len(began) == 1
        finally:
            go_on.set()
        await soon(asyncio.gather(*lists))
        assert len(began) == len(lists)
