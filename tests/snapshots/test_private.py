"""Snapshots of others, on an open and on a private server."""

import pytest

from fetchml.errors import Conflict, NotFound, ValidationFailed
from tests.snapshots.box import SLEEP, kept, upload
from tests.support.archives import file, sent
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended


async def test_a_private_server_does_not_reveal_that_others_have_the_same_snapshot(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.engine(private=True) as engine:
        now = 2_000_000_000_000
        monkeypatch.setattr(box.snapshots.records, "clock", lambda: now)
        of_alice, _ = await box.snapshots.upload(
            ALICE, sent(SLEEP), git_commit="a" * 40, git_dirty=True
        )
        now += 10_000_000
        of_bob, is_new = await box.snapshots.upload(BOB, sent(SLEEP))
        assert is_new
        assert (of_bob.git_commit, of_bob.git_dirty, of_bob.created_at) == (None, None, now)
        now += 10_000_000
        box.snapshots.get(BOB, of_bob.id)
        assert [each.used_at for each in box.snapshots.list(ALICE)] == [2_000_000_000_000]
        assert box.snapshots.get(ALICE, of_alice.id).git_commit == "a" * 40
        await box.experiments.create(ALICE, {"name": "a", "commit_id": of_alice.id})
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "snapshot_id": of_alice.id}
        )
        with pytest.raises(Conflict):
            await box.snapshots.delete(ALICE, of_alice.id)
        await box.snapshots.delete(BOB, of_bob.id)
        with pytest.raises(NotFound):
            box.snapshots.get(BOB, of_bob.id)
        assert box.snapshots.get(ADMIN, of_alice.id).users == ("alice",)
        assert kept(box) == {of_alice.id}
        await engine.changes.cancel(ALICE, task.id)
    async with box.engine(private=True):
        assert box.snapshots.get(ALICE, of_alice.id).created_at == 2_000_000_000_000
        with pytest.raises(NotFound):
            box.snapshots.get(BOB, of_bob.id)


async def test_on_a_private_server_other_owners_do_not_prevent_a_delete(box: Box) -> None:
    async with box.engine(private=True) as engine:
        snapshot, _ = await box.snapshots.upload(ALICE, sent(SLEEP))
        blocker = await engine.submissions.create_task(
            BOB, {"job_name": "a", "command": ["sleep", "1000"]}
        )
        with pytest.raises(ValidationFailed):
            await engine.submissions.create_task(
                BOB, {"job_name": "a", "snapshot_id": snapshot.id, "cpu": 2}
            )
        await box.snapshots.delete(ALICE, snapshot.id)
        assert kept(box) == set()
        await engine.changes.cancel(BOB, blocker.id)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ('after = ["{}"]', "after: there is no task '{}'"),
        ('after = [{{ sweep_id = "{}" }}]', "after: there is no sweep '{}'"),
        ('inputs_from = ["{}"]', "inputs_from: there is no task '{}'"),
        ('checkpoint_from = "{}"', "checkpoint_from: task not found"),
    ],
)
async def test_project_file_names_no_tasks_of_others(box: Box, entry: str, fault: str) -> None:
    """The answer for another user's task is that for an id that names none."""
    async with box.engine(private=True) as engine:
        request = {"job_name": "a", "command": ["sleep", "1000"], "checkpoint": True}
        task = await engine.submissions.create_task(BOB, request)
        for named in (task.id, "none"):
            snapshot = await upload(box, file("fetchml.toml", f"\n{entry.format(named)}".encode()))
            with pytest.raises(ValidationFailed) as error:
                await engine.submissions.create_task(
                    ALICE, {"job_name": "a", "snapshot_id": snapshot.id}
                )
            [violation] = error.value.violations
            assert violation.field == "fetchml.toml"
            assert violation.rule == f"line 2: {fault.format(named)}"


async def test_task_of_a_project_file_is_held_and_its_retry_is_not(box: Box) -> None:
    async with box.engine() as engine:
        snapshot = await upload(box, file("fetchml.toml", b"hold = true\n"))
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "snapshot_id": snapshot.id}
        )
        assert task.spec.hold
        await engine.changes.cancel(ALICE, task.id)
        await ended(engine, task.id)
        again = await engine.changes.retry(ALICE, task.id)
        assert not again.spec.hold
        await ended(engine, again.id)
