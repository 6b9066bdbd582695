"""Users and tasks that fill the disk: what they may have, what stops them, and who may clean up."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from fetchml.core import storage
from fetchml.core.audit import Action
from fetchml.core.model import FailureReason, Kept, Principal, Role, Status, Task, TaskSpec
from fetchml.core.storage import Kind, Live, Used
from fetchml.engine import message_seq
from fetchml.engine.engine import Engine
from fetchml.engine.retention import Retention, RetentionSettings
from fetchml.errors import Forbidden, NotFound, StorageQuotaReached, ValidationFailed
from fetchml.files import untrusted
from fetchml.files.storage_monitor import StorageWatch, WatchSettings
from fetchml.files.tree_size import measure
from fetchml.ports.store import AuditQuery, OldTasks
from fetchml.views import WatchFilter
from tests.support.archives import file, folder, packed, sent
from tests.support.cli_server import run
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended, running
from tests.support.program import ADMIN_KEY, Backend
from tests.support.sample_tasks import store_in, task
from tests.support.server_fixtures import Serve

MIB = 1 << 20
HOUR_MS = 3_600_000


def script(text: str) -> dict[str, Any]:
    return {"job_name": "job", "command": ["sh", "-c", text]}


def disk_watch(box: Box, engine: Engine, min_free_bytes: int = 0) -> StorageWatch:
    settings = WatchSettings(box.data_dir, min_free_bytes)
    return StorageWatch(box.usage, engine.watched, box.jupyter, settings)


def retention(box: Box, engine: Engine, keep_ms: int = 0, outputs_keep_ms: int = 0) -> Retention:
    settings = RetentionSettings(keep_ms, outputs_keep_ms)
    return Retention(engine._store, engine.ended, box.snapshots, box.usage, engine._audit, settings)


def used(box: Box, who: Principal, kind: Kind) -> int:
    return box.usage.of(who.user).used[kind].bytes


async def test_uploads_end_at_the_quota_and_not_at_the_disks_end(box: Box) -> None:
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


async def test_uploads_at_one_time_do_not_pass_the_quota_together(box: Box) -> None:
    async with box.engine(user_storage=MIB):
        trees = [packed(*(file(f"{tree}-{each}") for each in range(90))) for tree in range(4)]
        found = await asyncio.gather(
            *(box.snapshots.upload(ALICE, sent(tree)) for tree in trees), return_exceptions=True
        )
        refused = [each for each in found if isinstance(each, StorageQuotaReached)]
        assert len(refused) == 2
        assert box.usage.of("alice").total.bytes <= MIB


async def test_what_others_uploaded_too_counts_for_each(box: Box) -> None:
    async with box.engine():
        tree = packed(file("same", b"x" * 100_000))
        for who in (ALICE, BOB, ALICE):
            await box.snapshots.upload(who, sent(tree))
        assert used(box, ALICE, Kind.SNAPSHOTS) == used(box, BOB, Kind.SNAPSHOTS) > 100_000
        await box.snapshots.delete(ADMIN, box.snapshots.list(ALICE)[0].id)
        assert not used(box, ALICE, Kind.SNAPSHOTS) + used(box, BOB, Kind.SNAPSHOTS)


async def test_over_quota_nothing_new_is_taken_until_something_is_removed(box: Box) -> None:
    async with box.engine(user_storage=MIB) as engine:
        fill = await engine.create_task(
            ALICE, script("head -c 2000000 /dev/zero > $FETCHML_OUTPUTS/x")
        )
        await ended(engine, fill.id)
        assert used(box, ALICE, Kind.OUTPUTS) >= 2_000_000
        with pytest.raises(StorageQuotaReached, match=r"outputs 1\.9 MiB"):
            await engine.create_task(ALICE, script("true"))
        with pytest.raises(StorageQuotaReached):
            await engine.create_tasks(ALICE, [script("true")])
        with pytest.raises(StorageQuotaReached):
            await box.jupyter.start(ALICE, {"name": "notes"})
        with pytest.raises(StorageQuotaReached):
            await box.snapshots.upload(ALICE, sent(packed(file("a"))))
        other = await engine.create_task(BOB, script("true"))
        assert (await ended(engine, other.id)).status is Status.COMPLETED
        await engine.delete_task(ALICE, fill.id)
        assert not used(box, ALICE, Kind.OUTPUTS) + used(box, ALICE, Kind.LOGS)
        await ended(engine, (await engine.create_task(ALICE, script("true"))).id)


async def test_the_account_survives_a_restart(box: Box) -> None:
    async with box.engine() as engine:
        for number in range(3):
            text = f"echo said; head -c {number}00000 /dev/zero > $FETCHML_OUTPUTS/x"
            await ended(engine, (await engine.create_task(ALICE, script(text))).id)
        await box.snapshots.upload(ALICE, sent(packed(file("a", b"x"))))
        before = box.usage.of("alice")
        root = box.data_dir / "tasks"
        outputs = [measure(path / "outputs") for path in root.iterdir()]
        assert before.used[Kind.OUTPUTS].bytes == sum(each.bytes for each in outputs)
        assert before.used[Kind.LOGS].bytes > 0
    async with box.engine():
        assert box.usage.of("alice") == before


async def test_retries_keep_every_log_and_the_last_outputs(box: Box) -> None:
    async with box.engine() as engine:
        request = script("head -c 300000 /dev/zero > $FETCHML_OUTPUTS/x; exit 1")
        made = await engine.create_task(ALICE, {**request, "max_retries": 1})
        done = await ended(engine, made.id)
        assert done.retry_count == 1
        assert used(box, ALICE, Kind.OUTPUTS) < 400_000
        runs = [measure(path) for path in box.data_dir.glob("tasks/*/attempts/*/run")]
        assert used(box, ALICE, Kind.LOGS) == sum(each.bytes for each in runs)


@pytest.mark.parametrize("place", ["FETCHML_OUTPUTS", "FETCHML_WORKSPACE"])
async def test_a_task_that_writes_without_end_is_ended(box: Box, place: str) -> None:
    async with box.engine(user_storage=MIB) as engine:
        watch = disk_watch(box, engine)
        quiet = await engine.create_task(BOB, script("sleep 1000"))
        text = f"head -c 3000000 /dev/zero > ${place}/x; echo written; sleep 1000"
        made = await engine.create_task(ALICE, script(text))
        await running(engine, quiet.id)
        await said(engine, made.id)
        await watch.look()
        done = await ended(engine, made.id)
        assert done.failure_reason is FailureReason.CANCELLED
        assert done.error is not None
        assert "2.9 MiB" in done.error
        assert "1.0 MiB are allowed" in done.error
        assert "user_storage_gb" in done.error
        assert (await engine.get_task(BOB, quiet.id)).status is Status.RUNNING
        await watch.look()
        assert not used(box, ALICE, Kind.WORKSPACES)
        await engine.cancel_task(BOB, quiet.id)
        await ended(engine, quiet.id)


async def test_what_runs_counts_for_its_user(box: Box) -> None:
    async with box.engine() as engine:
        text = "head -c 300000 /dev/zero > $FETCHML_WORKSPACE/x; echo written; sleep 1000"
        made = await engine.create_task(ALICE, script(text))
        await said(engine, made.id)
        await disk_watch(box, engine).look()
        assert used(box, ALICE, Kind.WORKSPACES) >= 300_000
        await engine.cancel_task(ALICE, made.id)
        await ended(engine, made.id)
        assert not used(box, ALICE, Kind.WORKSPACES)


async def test_near_the_disks_end_who_writes_most_goes(box: Box) -> None:
    async with box.engine() as engine:
        size = storage.LEAST_GROWTH_BYTES * 2
        text = f"head -c {size} /dev/zero > $FETCHML_OUTPUTS/x; echo written; sleep 1000"
        made = await engine.create_task(ALICE, script(text))
        await said(engine, made.id)
        await disk_watch(box, engine, min_free_bytes=1 << 60).look()
        done = await ended(engine, made.id)
        assert done.error is not None
        assert "disk is nearly full" in done.error


async def said(engine: Engine, task_id: str) -> None:
    """Returns when the task has written something to its log."""
    async with asyncio.timeout(20):
        async for _ in engine.read_logs(ADMIN, task_id, follow=True):
            return


def live(number: int, user: str, size: int, grown: int) -> Live:
    spec = TaskSpec(job_name="job", image="image", command=("true",))
    return Live(Task(str(number), user, spec, 0), Used(size, 1), grown)


def test_who_is_ended_is_decided_by_user_then_by_growth() -> None:
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


async def test_a_sweep_finds_what_crashes_and_older_releases_left(box: Box) -> None:
    async with box.engine() as engine:
        made = await engine.create_task(ALICE, script("echo x > $FETCHML_OUTPUTS/x"))
        await ended(engine, made.id)
        hidden = await engine.create_task(ALICE, script("echo x > $FETCHML_OUTPUTS/x"))
        await ended(engine, hidden.id)
        live = await engine.create_task(ALICE, script("sleep 1000"))
        await running(engine, live.id)
        await engine.ended.hide([await engine.get_task(ALICE, hidden.id)])
        (box.data_dir / "tasks/nobodys").mkdir()
        await disk_watch(box, engine).sweep()
        assert {path.name for path in (box.data_dir / "tasks").iterdir()} == {made.id, live.id}
        old = task(1, Status.COMPLETED, id="old")
        box.usage.unrecorded(old, Kept(outputs_bytes=5, logs_bytes=1))
        box.usage.unrecorded(old, Kept(outputs_bytes=7, logs_bytes=1))
        assert used(box, Principal("ann", Role.USER, "k"), Kind.OUTPUTS) == 7
        await engine.cancel_task(ALICE, live.id)
        await ended(engine, live.id)


def test_a_hostile_tree_is_measured_within_bounds(tmp_path: Path) -> None:
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


async def three_ended(box: Box, engine: Engine) -> dict[str, Task]:
    """Of alice one that completed and one that failed, of bob one; all with outputs."""
    made = {}
    for name, who, end in (("good", ALICE, 0), ("bad", ALICE, 1), ("bobs", BOB, 0)):
        text = f"echo said; echo x > $FETCHML_OUTPUTS/x; exit {end}"
        done = await ended(engine, (await engine.create_task(who, script(text))).id)
        made[name] = done
    return made


async def test_users_prune_their_own_and_admins_anybodys(box: Box) -> None:
    async with box.engine(private=True) as engine:
        made = await three_ended(box, engine)
        prune = retention(box, engine).prune
        everything = {"older_than_seconds": 0}
        await asyncio.sleep(0.01)
        for who in (ALICE, BOB):
            with pytest.raises(Forbidden, match="Only an admin"):
                await prune(who, {**everything, "user_id": "somebody"})
        with pytest.raises(Forbidden, match="viewer"):
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
                await engine.get_task(ADMIN, made[name].id)
            assert not (box.data_dir / "tasks" / made[name].id).exists()
        assert (await engine.get_task(BOB, made["bobs"].id)).status is Status.COMPLETED
        assert not box.usage.of("alice").total.bytes
        stats = await engine.queue_stats(ADMIN)
        assert (stats.completed, stats.failed) == (2, 1), "statistics go on"
        [entry] = await engine._store.list_audit(AuditQuery(action=Action.STORAGE_PRUNE))
        assert (entry.user, entry.target) == ("alice", "alice")
        assert entry.detail is not None
        assert "2 tasks" in entry.detail


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"older_than_seconds": -1},
        {"older_than_seconds": 1.5},
        {"older_than_seconds": 2**31},
        {"older_than_seconds": 1, "kinds": ["keys"]},
        {"older_than_seconds": 1, "kinds": []},
        {"older_than_seconds": 1, "states": ["running"]},
        {"older_than_seconds": 1, "user_id": "a\nb"},
        {"older_than_seconds": 1, "apply": "yes"},
    ],
)
async def test_a_wrong_request_removes_nothing(box: Box, request_: dict[str, Any]) -> None:
    async with box.engine() as engine:
        with pytest.raises(ValidationFailed):
            await retention(box, engine).prune(ADMIN, request_)


async def test_outputs_alone_can_go_and_no_watcher_sees_a_second_end(box: Box) -> None:
    async with box.engine() as engine:
        made = await three_ended(box, engine)
        last = message_seq.up_to(engine._writer.feed.last_seq)
        await asyncio.sleep(0.01)
        wanted = {"older_than_seconds": 0, "kinds": ["outputs"], "apply": True}
        removed = await retention(box, engine).prune(ADMIN, wanted)
        assert (removed.outputs, removed.tasks) == (3, 0)
        assert await engine.list_outputs(ADMIN, made["good"].id) == []
        assert await engine.task_output(await engine.get_task(ADMIN, made["good"].id)) == "said\n"
        assert (await retention(box, engine).prune(ADMIN, wanted)).outputs == 0
        assert not used(box, ALICE, Kind.OUTPUTS)
        assert used(box, ALICE, Kind.LOGS) > 0
        stats = await engine.queue_stats(ADMIN)
        assert (stats.completed, stats.failed) == (2, 1)
        watch = engine.watch(ADMIN, WatchFilter(), since=last)
        await engine.create_task(ALICE, script("true"))
        async with asyncio.timeout(10):
            first = await anext(watch)
        assert first.task is not None
        assert first.task.id not in {each.id for each in made.values()}
        await watch.aclose()
        before = box.usage.of("alice").used[Kind.OUTPUTS]
    async with box.engine():
        assert box.usage.of("alice").used[Kind.OUTPUTS] == before


async def test_unused_snapshots_are_pruned_by_who_uploaded_them(box: Box) -> None:
    async with box.engine() as engine:
        mine, _ = await box.snapshots.upload(ALICE, sent(packed(file("mine", b"x"))))
        ours = packed(file("ours", b"x"))
        await box.snapshots.upload(ALICE, sent(ours))
        await box.snapshots.upload(BOB, sent(ours))
        named, _ = await box.snapshots.upload(ALICE, sent(packed(file("named", b"x"))))
        request = {**script("sleep 1000"), "snapshot_id": named.id}
        live = await engine.create_task(ALICE, request)
        await asyncio.sleep(0.01)
        wanted = {"older_than_seconds": 0, "kinds": ["snapshots"]}
        prune = retention(box, engine).prune
        assert (await prune(BOB, wanted)).snapshots == 0
        assert (await prune(ALICE, wanted)).snapshots == 1
        assert (await prune(ALICE, {**wanted, "apply": True})).snapshots == 1
        left = {each.id for each in box.snapshots.list(ADMIN)}
        assert mine.id not in left
        assert len(left) == 2
        await engine.cancel_task(ALICE, live.id)
        await ended(engine, live.id)


async def test_what_is_older_than_the_settings_say_goes(box: Box) -> None:
    async with box.engine() as engine:
        made = await three_ended(box, engine)
        await retention(box, engine, keep_ms=HOUR_MS, outputs_keep_ms=HOUR_MS).remove_old()
        assert await engine.list_outputs(ADMIN, made["good"].id)
        await asyncio.sleep(0.01)
        await retention(box, engine, outputs_keep_ms=1).remove_old()
        assert not await engine.list_outputs(ADMIN, made["good"].id)
        await engine.get_task(ADMIN, made["good"].id)
        await retention(box, engine, keep_ms=1).remove_old()
        for each in made.values():
            with pytest.raises(NotFound):
                await engine.get_task(ADMIN, each.id)
        assert not list((box.data_dir / "tasks").iterdir())


async def test_old_rows_go_in_portions_and_leave_their_number(tmp_path: Path) -> None:
    day_ms = 24 * HOUR_MS
    async with store_in(tmp_path, keep_ms=day_ms, now_ms=lambda: 10 * day_ms) as opened:
        number = 2_500
        gone = {"ended_at": 2 * day_ms, "hidden": True}
        await opened.append(*(task(each, Status.COMPLETED, **gone) for each in range(number)))
        shown = task(number, Status.COMPLETED, ended_at=2 * day_ms)
        young = task(number + 1, Status.FAILED, ended_at=10 * day_ms, hidden=True)
        await opened.append(shown, young)
        upkeep = opened.store._upkeep
        await asyncio.to_thread(upkeep.stop)  # Else it does the same when it is idle.
        rounds = 0
        while upkeep._has_old_rows:
            upkeep._remove_old_rows()
            rounds += 1
        assert rounds == 3
        assert await opened.store.get(task(0).id) is None
        assert await opened.store.get(shown.id) is not None
        assert await opened.store.get(young.id) is not None
        cursor = opened.store._database.cursor()
        counted = cursor.execute("SELECT usr, status, number FROM removed_tasks").fetchall()
        assert counted == [("ann", "completed", number)]


async def test_old_tasks_are_found_in_the_order_of_their_creation(tmp_path: Path) -> None:
    async with store_in(tmp_path) as opened:
        kept = Kept(outputs_bytes=10, outputs_files=1, logs_bytes=5, logs_files=2)
        done = [task(each, Status.COMPLETED, ended_at=each, kept=kept) for each in range(10)]
        await opened.append(*done, task(11), task(12, Status.FAILED, ended_at=1))
        found = await opened.store.old_tasks(OldTasks(5, limit=3))
        assert [each.ended_at for each in found] == [0, 1, 2]
        after = (found[-1].created_at, found[-1].id)
        found = await opened.store.old_tasks(OldTasks(5, limit=9, after=after))
        assert [each.ended_at for each in found] == [3, 4, 1]
        counted = await opened.store.count_old_tasks(OldTasks(5, states=(Status.COMPLETED,)))
        assert (counted.tasks, counted.kept.outputs_bytes, counted.kept.logs_files) == (5, 50, 10)
        by_user = await opened.store.kept_by_user()
        assert by_user == {"ann": Kept(100, 10, 50, 20)}


async def test_over_the_network_each_sees_their_own_and_cleans_up(
    serve: Serve, processes_backend: Backend
) -> None:
    server = await serve(processes_backend, FETCHML_QUOTAS_USER_STORAGE_GB="7").start()
    secrets = {name: await server.key(name, Role.USER) for name in ("ada", "bob")}
    ids = {}
    for name, secret in secrets.items():
        rest, _ = await server.clients(secret)
        made = await rest.submit(script("echo x > $FETCHML_OUTPUTS/x"))
        ids[name] = made.json["id"]
        await server.ended(ids[name])
    rest, _ = await server.clients(secrets["ada"])
    report = (await rest.ask("GET", "/v1/storage")).json
    assert report["allowed_bytes"] == 7 << 30
    [mine] = report["users"]
    assert mine["user_id"] == "ada"
    assert mine["bytes"] == sum(kind["bytes"] for kind in mine["kinds"]) > 0
    everybody = (await server.rest.ask("GET", "/v1/storage")).json["users"]
    assert {user["user_id"] for user in everybody} == {"ada", "bob"}

    async def command(name: str, *arguments: str) -> str:
        secret = ADMIN_KEY if name == "admin" else secrets[name]
        variables = {"FETCHML_SERVER": server.grpc_address, "FETCHML_API_KEY": secret}
        ran = await asyncio.to_thread(run, *arguments, **variables)
        return ran.succeeded()

    assert "bob" not in await command("ada", "storage")
    assert "7.0 GiB" in await command("admin", "storage")
    told = await command("ada", "prune", "--older-than", "0s", "--dry-run")
    assert "1 task," in told
    assert (await rest.ask("GET", f"/v1/tasks/{ids['ada']}")).status == 200
    told = await command("ada", "prune", "--older-than", "0s", "--yes")
    assert "Removed: 1 task," in told
    assert (await rest.ask("GET", f"/v1/tasks/{ids['ada']}")).status == 404
    assert (await rest.ask("GET", f"/v1/tasks/{ids['bob']}")).status == 200
    assert "Nothing is that old" in await command("admin", "prune", "--older-than", "9d", "-y")
    await server.stop()
