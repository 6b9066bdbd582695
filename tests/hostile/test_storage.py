"""Users and tasks that fill the disk: quotas, stopped writers, and cleaning up."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fetchml.core import storage
from fetchml.core.model import FailureReason, Kept, Principal, Role, Status, Task
from fetchml.core.storage import Kind, Live, Used
from fetchml.engine.engine import Engine
from fetchml.errors import StorageQuotaReached
from fetchml.files import untrusted
from fetchml.files.disk_usage import measure
from fetchml.files.storage_usage import MonitorSettings, StorageMonitor
from tests.hostile.storage_box import MIB, disk_watch, script, used
from tests.support.archives import file, folder, packed, sent
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended, running
from tests.support.stores import numbered
from tests.support.tasks import task
from tests.support.waiting import SECONDS


async def test_upload_beyond_the_quota_is_refused(box: Box) -> None:
    """Small files take whole blocks, folders too: the archive is a hundredth of that."""
    async with box.engine(user_storage=MIB):
        taken = 0

        async def upload_on() -> None:
            nonlocal taken
            for number in range(5_000):
                shape = folder if number % 2 else file
                archive = packed(*(shape(f"{number}-{each}") for each in range(90)))
                await box.snapshots.upload(ALICE, sent(archive))
                taken += 1

        with pytest.raises(StorageQuotaReached, match="snapshots") as refused:
            await upload_on()
        assert taken == 2
        assert "fetchml prune" in refused.value.message
        assert "1.0 MiB allowed" in refused.value.message
        on_disk = measure(box.data_dir / "snapshots")
        assert on_disk.bytes < 2 * MIB
        assert not list((box.data_dir / "snapshots/.new").iterdir())
        # Others go on, and so does the user once something is gone.
        await box.snapshots.upload(BOB, sent(packed(file("bobs", b"x"))))
        await box.snapshots.delete(ALICE, box.snapshots.list(ALICE)[-1].id)
        await box.snapshots.upload(ALICE, sent(packed(file("alices", b"x"))))


async def test_upload_counts_as_what_it_takes_unpacked(box: Box) -> None:
    """Archives of zeros take two hundred times their size on the disk."""
    async with box.engine(user_storage=MIB):
        archives = [packed(file(f"zeros{number}", bytes(600_000))) for number in range(2)]
        assert max(map(len, archives)) < 4096
        await box.snapshots.upload(ALICE, sent(archives[0]))
        with pytest.raises(StorageQuotaReached, match="snapshots"):
            await box.snapshots.upload(ALICE, sent(archives[1]))
        assert 600_000 < used(box, ALICE, Kind.SNAPSHOTS) < MIB
        assert measure(box.data_dir / "snapshots").bytes < MIB


async def test_concurrent_uploads_do_not_exceed_the_quota(box: Box) -> None:
    async with box.engine(user_storage=MIB):
        trees = [packed(*(file(f"{tree}-{each}") for each in range(90))) for tree in range(4)]
        found = await asyncio.gather(
            *(box.snapshots.upload(ALICE, sent(tree)) for tree in trees), return_exceptions=True
        )
        refused = [each for each in found if isinstance(each, StorageQuotaReached)]
        assert len(refused) == 2
        assert box.usage.of("alice").total.bytes <= MIB


async def test_shared_upload_counts_for_each_uploader(box: Box) -> None:
    async with box.engine():
        tree = packed(file("same", b"x" * 100_000))
        for who in (ALICE, BOB, ALICE):
            await box.snapshots.upload(who, sent(tree))
        assert used(box, ALICE, Kind.SNAPSHOTS) == used(box, BOB, Kind.SNAPSHOTS) > 100_000
        await box.snapshots.delete(ADMIN, box.snapshots.list(ALICE)[0].id)
        assert not used(box, ALICE, Kind.SNAPSHOTS) + used(box, BOB, Kind.SNAPSHOTS)


async def test_user_over_quota_is_refused_until_records_are_removed(box: Box) -> None:
    async with box.engine(user_storage=MIB) as engine:
        fill = await engine.submissions.create_task(
            ALICE, script("head -c 2000000 /dev/zero > $FETCHML_OUTPUTS/x")
        )
        await ended(engine, fill.id)
        assert used(box, ALICE, Kind.OUTPUTS) >= 2_000_000
        with pytest.raises(StorageQuotaReached, match=r"outputs 1\.9 MiB"):
            await engine.submissions.create_task(ALICE, script("true"))
        with pytest.raises(StorageQuotaReached):
            await engine.submissions.create_tasks(ALICE, [script("true")])
        with pytest.raises(StorageQuotaReached):
            await box.jupyter.start(ALICE, {"name": "notes"})
        with pytest.raises(StorageQuotaReached):
            await box.snapshots.upload(ALICE, sent(packed(file("a"))))
        other = await engine.submissions.create_task(BOB, script("true"))
        assert (await ended(engine, other.id)).status is Status.COMPLETED
        await engine.changes.delete(ALICE, fill.id)
        assert not used(box, ALICE, Kind.OUTPUTS) + used(box, ALICE, Kind.LOGS)
        await ended(engine, (await engine.submissions.create_task(ALICE, script("true"))).id)


@pytest.mark.slow
async def test_storage_usage_survives_a_restart(box: Box) -> None:
    async with box.engine() as engine:
        for number in range(3):
            text = f"echo said; head -c {number}00000 /dev/zero > $FETCHML_OUTPUTS/x"
            await ended(engine, (await engine.submissions.create_task(ALICE, script(text))).id)
        await box.snapshots.upload(ALICE, sent(packed(file("a", b"x"))))
        before = box.usage.of("alice")
        root = box.data_dir / "tasks"
        outputs = [measure(path / "outputs") for path in root.iterdir()]
        assert before.used[Kind.OUTPUTS].bytes == sum(each.bytes for each in outputs)
        assert before.used[Kind.LOGS].bytes > 0
    async with box.engine():
        assert box.usage.of("alice") == before


async def test_retries_keep_all_logs_and_the_last_outputs(box: Box) -> None:
    async with box.engine() as engine:
        request = script("head -c 300000 /dev/zero > $FETCHML_OUTPUTS/x; exit 1")
        made = await engine.submissions.create_task(ALICE, {**request, "max_retries": 1})
        done = await ended(engine, made.id)
        assert done.retry_count == 1
        assert used(box, ALICE, Kind.OUTPUTS) < 400_000
        runs = [measure(path) for path in box.data_dir.glob("tasks/*/attempts/*/run")]
        assert used(box, ALICE, Kind.LOGS) == sum(each.bytes for each in runs)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["FETCHML_OUTPUTS", "FETCHML_WORKSPACE"])
async def test_task_writing_without_end_is_stopped(each_box: Box, place: str) -> None:
    async with each_box.engine(user_storage=MIB) as engine:
        watch = disk_watch(each_box, engine)
        quiet = await engine.submissions.create_task(BOB, script("sleep 1000"))
        text = f"head -c 3000000 /dev/zero > ${place}/x; echo written; sleep 1000"
        made = await engine.submissions.create_task(ALICE, script(text))
        await running(engine, quiet.id)
        await said(engine, made.id)
        await watch.measure_live()
        done = await ended(engine, made.id)
        assert done.failure_reason is FailureReason.CANCELLED
        assert done.error is not None
        assert "2.9 MiB" in done.error
        assert "1.0 MiB are allowed" in done.error
        assert "user_storage_gb" in done.error
        assert (await engine.tasks.get(BOB, quiet.id)).status is Status.RUNNING
        await watch.measure_live()
        assert not used(each_box, ALICE, Kind.WORKSPACES)
        await engine.changes.cancel(BOB, quiet.id)
        await ended(engine, quiet.id)


async def test_tasks_are_listed_once_for_all_that_are_measured(box: Box) -> None:
    """On a cluster every task that was handed over is under way: thousands of them."""
    async with box.engine() as engine:
        text = "head -c 300000 /dev/zero > $FETCHML_WORKSPACE/x; echo written; sleep 1000"
        made = [await engine.submissions.create_task(ALICE, script(text)) for _ in range(2)]
        for each in made:
            await said(engine, each.id)
        watched, lists = box.parts.watched, 0

        def active() -> Sequence[Task]:
            nonlocal lists
            lists += 1
            return watched.active()

        settings = MonitorSettings(box.data_dir, 0)
        counted = replace(watched, active=active)
        await StorageMonitor(box.usage, counted, box.jupyter, settings).measure_live()
        assert lists == 1
        assert used(box, ALICE, Kind.WORKSPACES) >= 600_000
        for each in made:
            assert watched.is_active(each.id)
            await engine.changes.cancel(ALICE, each.id)
            await ended(engine, each.id)
        assert not watched.is_active(made[0].id)


async def test_fastest_writer_is_stopped_when_the_disk_is_nearly_full(each_box: Box) -> None:
    async with each_box.engine() as engine:
        size = storage.LEAST_GROWTH_BYTES * 2
        text = f"head -c {size} /dev/zero > $FETCHML_OUTPUTS/x; echo written; sleep 1000"
        made = await engine.submissions.create_task(ALICE, script(text))
        await said(engine, made.id)
        await disk_watch(each_box, engine, min_free_bytes=1 << 60).measure_live()
        done = await ended(engine, made.id)
        assert done.error is not None
        assert "disk is nearly full" in done.error


async def said(engine: Engine, task_id: str) -> None:
    """Returns when the task has written something to its log."""
    async with asyncio.timeout(SECONDS):
        async for _ in engine.logs.read(ADMIN, task_id, follow=True):
            return


def live(number: int, user: str, size: int, grown: int) -> Live:
    return Live(task(str(number), user=user), Used(size, 1), grown)


def test_task_to_stop_is_chosen_by_user_then_growth() -> None:
    def chosen(found: list[Live], *, allowed: int = 0, free: int = 100) -> list[str]:
        excess = storage.excess(found, allowed_bytes=allowed, free_bytes=free, least_free_bytes=100)
        return [each.task.id for each in excess]

    much = 100 * MIB
    tasks = [live(1, "a", much, 0), live(2, "a", 2 * much, 0), live(3, "b", much, much)]
    assert chosen(tasks) == []
    assert chosen(tasks, allowed=2 * much) == ["2"]
    assert chosen(tasks, free=99) == ["3"]
    assert chosen([live(1, "a", much, 1)], free=0) == [], "it did not fill the disk"
    assert chosen(tasks, allowed=2 * much, free=0) == ["2"], "that may be enough"


async def test_sweep_removes_leftovers_of_crashes_and_older_releases(box: Box) -> None:
    async with box.engine() as engine:
        made = await engine.submissions.create_task(ALICE, script("echo x > $FETCHML_OUTPUTS/x"))
        await ended(engine, made.id)
        hidden = await engine.submissions.create_task(ALICE, script("echo x > $FETCHML_OUTPUTS/x"))
        await ended(engine, hidden.id)
        live = await engine.submissions.create_task(ALICE, script("sleep 1000"))
        await running(engine, live.id)
        await box.parts.ended.hide([await engine.tasks.get(ALICE, hidden.id)])
        (box.data_dir / "tasks/nobodys").mkdir()
        await disk_watch(box, engine).sweep()
        assert {path.name for path in (box.data_dir / "tasks").iterdir()} == {made.id, live.id}
        old = numbered(1, Status.COMPLETED, id="old")
        box.usage.unrecorded(old, Kept(outputs_bytes=5, logs_bytes=1))
        box.usage.unrecorded(old, Kept(outputs_bytes=7, logs_bytes=1))
        assert used(box, Principal("ann", Role.USER, "k"), Kind.OUTPUTS) == 7
        await engine.changes.cancel(ALICE, live.id)
        await ended(engine, live.id)


def test_measuring_a_hostile_tree_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "outside").symlink_to("/usr")
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    for number in range(500):
        (tmp_path / str(number)).touch()
    found = measure(tmp_path)
    assert found.files == 504
    assert found.bytes < 3 * MIB
    assert measure(tmp_path, most_entries=100).files == 100
    deep = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2_000):
        os.mkdir("d", dir_fd=deep)
        inner = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    assert 504 < measure(tmp_path).files < 700
    assert measure(tmp_path / "fifo").files == measure(tmp_path / "loop").files == 0
    untrusted.remove(tmp_path / "d")
