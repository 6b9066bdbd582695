"""Snapshots over a real engine: the tasks that run them, restarts, deletion."""

import asyncio
import threading

import pytest

from fetchml.core.model import FailureReason, Status
from fetchml.errors import Conflict, ValidationFailed
from fetchml.views import WatchFilter
from tests.snapshots.box import RUN, SLEEP, half_done, kept, names, upload
from tests.support.archives import file, link, packed, sent
from tests.support.engine_box import ALICE, BOB, Box, ended, running
from tests.support.waiting import SECONDS


async def test_a_task_has_a_private_writable_copy_of_its_snapshot(box: Box) -> None:
    script = b"""
        find . | sort; ./tool; cat here
        echo changed > src/a; rm tool; ln here link; echo new > src/new; chmod 777 src
    """
    async with box.engine() as engine:
        snapshot = await upload(
            box,
            file("fetchml.toml", RUN.encode()),
            file("run.sh", script),
            file("tool", b"#!/bin/sh\necho tool\n", mode=0o755),
            file("src/a", b"original"),
            link("here", "src/a"),
        )
        for _ in range(2):
            task = await engine.submissions.create_task(
                ALICE, {"job_name": "a", "snapshot_id": snapshot.id}
            )
            assert task.spec.command == ("sh", "run.sh")
            task = await ended(engine, task.id)
            assert task.status is Status.COMPLETED, task.error
            assert await engine.logs.tail(task) == (
                ".\n./fetchml.toml\n./here\n./run.sh\n./src\n./src/a\n./tool\ntool\noriginal"
            )
            assert "workspace" not in names(box.data_dir / "tasks" / task.id / "attempts/1")
        tree = box.data_dir / "snapshots" / snapshot.id / "tree"
        assert (tree / "src/a").read_bytes() == b"original"
        assert names(tree / "src") == ["a"]


async def test_a_request_overrides_the_project_file_and_that_the_server_defaults(box: Box) -> None:
    text = b'image = "file"\nmax_retries = 3\ncpu = 1\npreemptible = true\n'
    text += b'[env]\nA = "file"\nB = "file"\n'
    async with box.engine() as engine:
        snapshot = await upload(box, file("fetchml.toml", text))
        request = {"job_name": "a", "image": "request", "env": {"A": "request"}}
        spec = (
            await engine.submissions.create_tasks(ALICE, [{**request, "snapshot_id": snapshot.id}])
        )[0].spec
        assert (spec.image, spec.command, spec.max_retries, spec.cpu) == (
            "request",
            ("true",),
            3,
            1,
        )
        assert spec.env == {"A": "request", "B": "file"}
        assert spec.preemptible


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image = 1\n", "fetchml.toml: line 1: image must be a string"),
        ("\n# needs\ncpu = 64\n", "fetchml.toml: line 3: cpu requests 64, but this host has 2"),
        ("[env]\n'A-B' = 'x'\n", "fetchml.toml: line 1: env key 'A-B' must be a name"),
        ("comand = ['a']\n", "line 1: comand is not a setting: did you mean command?"),
        ("args = 'a'\n", "line 1: args is not a setting: it belongs to one task, so give it when"),
        ("a = \n", "fetchml.toml: is not TOML: invalid value (at line 1, column 5)"),
        ("a = 1\ncpu = " + "9" * 5000, "fetchml.toml: is not TOML: exceeds the limit"),
        ("\n" + ".".join("a" * 200) + "=1", "fetchml.toml: line 2: has more than 100 dots"),
    ],
)
async def test_a_bad_project_file_is_rejected_at_submission(box: Box, text: str, told: str) -> None:
    async with box.engine() as engine:
        snapshot = await upload(box, file("fetchml.toml", text.encode()))
        with pytest.raises(ValidationFailed) as error:
            await engine.submissions.create_task(
                ALICE, {"job_name": "a", "snapshot_id": snapshot.id}
            )
        assert told in error.value.message


async def test_a_restart_keeps_snapshots_and_removes_leftovers(box: Box) -> None:
    async with box.engine():
        first = await upload(box, file("a", b"1"))
        lost = await upload(box, file("a", b"2"))
    stray = box.data_dir / "snapshots" / ("0" * 64)
    (stray / "tree/deep").mkdir(parents=True)
    (box.data_dir / "snapshots/.new/half/tree").mkdir(parents=True)
    (box.data_dir / "snapshots" / lost.id).rename(box.data_dir / "elsewhere")
    async with box.engine() as engine:
        assert box.snapshots.list(BOB) == [first]
        assert kept(box) == {first.id}
        assert half_done(box) == []
        again, is_new = await box.snapshots.upload(ALICE, sent(packed(file("a", b"2"))))
        assert (again.id, is_new) == (lost.id, True)
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "snapshot_id": first.id, "command": ["cat", "a"]}
        )
        assert await engine.logs.tail(await ended(engine, task.id)) == "1"


async def test_a_task_queued_across_a_restart_has_its_files(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        blocker = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "command": ["sleep", "1000"]}
        )
        await running(engine, blocker.id)
        snapshot = await upload(box, file("a", b"1"))
        request = {"job_name": "a", "snapshot_id": snapshot.id, "command": ["cat", "a"]}
        task = await engine.submissions.create_task(ALICE, request)
    half_copied = box.data_dir / "tasks" / task.id / "attempts/1/workspace.new"
    half_copied.mkdir(parents=True)
    (half_copied / "a").write_text("half")
    async with box.engine(max_running=1) as engine:
        await engine.changes.cancel(ALICE, blocker.id)
        assert await engine.logs.tail(await ended(engine, task.id)) == "1"


async def test_unused_snapshots_are_removed(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    async with box.engine() as engine:
        unused = await upload(box, file("a", b"unused"))
        recent = await upload(box, file("a", b"recent"))
        about = await upload(box, file("a", b"about"))
        run, _ = await box.snapshots.upload(ALICE, sent(SLEEP))
        await box.experiments.create(ALICE, {"name": "a", "commit_id": about.id})
        task = await engine.submissions.create_task(ALICE, {"job_name": "a", "snapshot_id": run.id})
        await running(engine, task.id)
        now = unused.used_at + 59_000
        monkeypatch.setattr(box.snapshots.records, "clock", lambda: now)
        await box.snapshots.remove_unused()
        assert kept(box) == {unused.id, recent.id, about.id, run.id}
        now += 3_600_000
        box.snapshots.get(ALICE, recent.id)
        await box.snapshots.remove_unused()
        assert kept(box) == {recent.id, about.id, run.id}
        await box.snapshots.records.save()
        assert {each.id for each in box.snapshots.list(ALICE)} == kept(box)
        await engine.changes.cancel(ALICE, task.id)
        await ended(engine, task.id)
        await box.snapshots.remove_unused()
        assert kept(box) == {recent.id, about.id}
    async with box.engine():
        assert {each.id for each in box.snapshots.list(ALICE)} == {recent.id, about.id}
        assert box.snapshots.get(ALICE, recent.id).used_at == now


async def test_a_snapshot_that_a_client_has_just_asked_for_is_not_removed(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep has made its list when an experiment is created that names one of it."""
    async with box.engine():
        old = [await upload(box, file("a", bytes([n]))) for n in range(2)]
        about = max(old, key=lambda each: each.id)
        monkeypatch.setattr(box.snapshots.records, "clock", lambda: about.used_at + 3_700_000)
        sweep = asyncio.create_task(box.snapshots.remove_unused())
        await asyncio.sleep(0)
        await box.experiments.create(ALICE, {"name": "a", "commit_id": about.id})
        await sweep
        assert kept(box) == {about.id}


async def test_a_delete_fails_if_a_task_names_the_snapshot_first(box: Box) -> None:
    async with box.engine() as engine:
        snapshot, _ = await box.snapshots.upload(ALICE, sent(SLEEP))
        async with box.snapshots.records.locks.hold(snapshot.id):
            deleting = asyncio.create_task(box.snapshots.delete(ALICE, snapshot.id))
            await asyncio.sleep(0)
            task = await engine.submissions.create_task(
                BOB, {"job_name": "a", "snapshot_id": snapshot.id}
            )
        with pytest.raises(Conflict):
            await deleting
        await running(engine, task.id)
        await engine.changes.cancel(BOB, task.id)


async def test_a_cancel_ends_the_copy(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(*(file(str(n), b"x") for n in range(90)))
    copying, go_on = threading.Event(), threading.Event()

    def half_way() -> bool:
        copying.set()
        return go_on.wait(2 * SECONDS)

    async with box.engine() as engine:
        snapshot, _ = await box.snapshots.upload(ALICE, sent(data))
        monkeypatch.setattr(box.snapshots.copies._copying, "_has_room", half_way)
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "snapshot_id": snapshot.id}
        )
        assert await asyncio.to_thread(copying.wait, SECONDS)
        async with asyncio.timeout(SECONDS):
            async for update in engine.watches.watch(
                ALICE, WatchFilter(task_id=task.id), snapshot=True
            ):
                if update.task and update.task.progress == "copying the snapshot":
                    break
        await engine.changes.cancel(ALICE, task.id)
        go_on.set()
        task = await ended(engine, task.id)
        assert task.error == "cancelled by alice"
        assert names(box.data_dir / "tasks" / task.id / "attempts/1") == ["run"]


async def test_damaged_files_fail_the_task_with_a_plain_reason(box: Box) -> None:
    async with box.engine() as engine:
        snapshot = await upload(box, file("a", b"1"))
        (box.data_dir / "snapshots" / snapshot.id / "tree/a").write_bytes(b"12")
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "snapshot_id": snapshot.id}
        )
        task = await ended(engine, task.id)
        assert task.failure_reason is FailureReason.PREPARE_FAILED
        assert task.error is not None
        assert "are damaged: delete and upload it again" in task.error
