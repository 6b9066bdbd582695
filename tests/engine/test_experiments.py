"""Experiments, and the tasks that name them, against a real engine and store."""

import asyncio

import pytest

from fetchml.core.model import Principal, Status
from fetchml.core.requests.experiment import Experiment, ExperimentStatus
from fetchml.engine import experiments as module
from fetchml.engine.experiments import Experiments, KnownExperiments
from fetchml.errors import Conflict, Forbidden, NotFound, Unavailable, ValidationFailed
from fetchml.ports.store import TaskQuery
from fetchml.system.clock import Clock
from fetchml.system.ids import IdSequence
from tests.support.archives import file, packed, sent
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended
from tests.support.memory_store import nothing_stored

TRUE = {"job_name": "true", "command": ["true"]}


async def test_restart_keeps_experiments(box: Box) -> None:
    async with box.engine():
        kept = await box.experiments.create(ALICE, {"name": "kept", "description": "d"})
        code, _ = await box.snapshots.upload(BOB, sent(packed(file("a"))))
        old = await box.experiments.create(BOB, {"name": "old", "commit_id": code.id})
        gone = await box.experiments.create(ALICE, {"name": "gone"})
        archived = await box.experiments.archive(BOB, old.id)
        await box.experiments.delete(ALICE, gone.id)
        assert box.experiments.list(VIEWER) == [archived, kept]
    assert archived.status is ExperimentStatus.ARCHIVED
    assert (kept.user, kept.description) == ("alice", "d")
    async with box.engine():
        assert box.experiments.list(VIEWER) == [archived, kept]
        assert box.experiments.get(VIEWER, old.id) == archived
        with pytest.raises(Conflict):
            await box.snapshots.delete(ADMIN, code.id)
        newer = await box.experiments.create(ALICE, {"name": "newer"})
        assert box.experiments.list(VIEWER) == [newer, archived, kept]


async def test_archived_and_deleted_once(box: Box) -> None:
    async with box.engine():
        made = await box.experiments.create(ALICE, {"name": "a"})
        archived = await box.experiments.archive(ALICE, made.id)
        assert await box.experiments.archive(ALICE, made.id) == archived
        results = await asyncio.gather(
            *(box.experiments.delete(ALICE, made.id) for _ in range(5)),
            box.experiments.archive(ALICE, made.id),
            return_exceptions=True,
        )
        assert results[0] is None
        assert all(isinstance(result, NotFound) for result in results[1:])
        with pytest.raises(NotFound):
            box.experiments.get(ALICE, made.id)
    async with box.engine():
        assert box.experiments.list(ADMIN) == []


async def test_a_caller_that_leaves_leaves_memory_and_store_in_step(box: Box) -> None:
    async with box.engine():
        made = await box.experiments.create(ALICE, {"name": "a"})
        leaving = asyncio.create_task(box.experiments.archive(ALICE, made.id))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert leaving.cancelled()
        # It waits until the change that was begun is done.
        await box.experiments.create(ALICE, {"name": "b"})
        in_memory = box.experiments.list(ALICE)
        assert in_memory[1].status is ExperimentStatus.ARCHIVED
    async with box.engine():
        assert box.experiments.list(ALICE) == in_memory


async def test_roles(box: Box) -> None:
    async with box.engine():
        with pytest.raises(Forbidden):
            await box.experiments.create(VIEWER, {"name": "a"})
        made = await box.experiments.create(ALICE, {"name": "a"})
        for who in (BOB, VIEWER):
            assert box.experiments.get(who, made.id) == made
            for verb in (box.experiments.archive, box.experiments.delete):
                with pytest.raises(Forbidden):
                    await verb(who, made.id)
        await box.experiments.archive(ADMIN, made.id)
        await box.experiments.delete(ADMIN, made.id)


async def test_private_server_hides_others(box: Box) -> None:
    async with box.engine(private=True) as engine:
        made = await box.experiments.create(ALICE, {"name": "a"})
        assert box.experiments.list(BOB) == []
        assert box.experiments.list(ALICE) == box.experiments.list(ADMIN) == [made]
        with pytest.raises(NotFound):
            box.experiments.get(BOB, made.id)
        for verb in (box.experiments.archive, box.experiments.delete):
            with pytest.raises(NotFound):
                await verb(BOB, made.id)
        with pytest.raises(ValidationFailed, match="experiment_id: experiment not found"):
            await engine.submissions.create_task(BOB, {**TRUE, "experiment_id": made.id})


async def test_private_server_folds_what_one_sees(box: Box) -> None:
    async with box.engine(private=True) as engine:
        made = await box.experiments.create(ALICE, {"name": "a"})
        request = {**TRUE, "experiment_id": made.id, "hold": True}
        own = [await engine.submissions.create_task(ALICE, request) for _ in range(2)]
        newest = await engine.submissions.create_task(ADMIN, request)
        for who, head, total in ((ALICE, own[1], 2), (ADMIN, newest, 3)):
            page = await engine.tasks.list(who, TaskQuery(fold_experiments=True))
            assert ([task.id for task in page.tasks], page.total) == ([head.id], total)
        page = await engine.tasks.list(BOB, TaskQuery(fold_experiments=True))
        assert (page.tasks, page.total) == ([], 0)


async def test_a_task_names_an_active_experiment(box: Box) -> None:
    async with box.engine() as engine:
        made = await box.experiments.create(ALICE, {"name": "a"})
        request = {**TRUE, "experiment_id": made.id}
        first = await engine.submissions.create_task(ALICE, request, "key")
        others = await engine.submissions.create_tasks(BOB, [request, TRUE])
        for task in (first, *others):
            await ended(engine, task.id)
        page = await engine.tasks.list(VIEWER, TaskQuery(experiment_id=made.id))
        assert [task.id for task in page.tasks] == [others[0].id, first.id]
        await box.experiments.archive(ALICE, made.id)
        for experiment_id in (made.id, "no such"):
            with pytest.raises(ValidationFailed, match="experiment_id: experiment not found"):
                await engine.submissions.create_task(
                    ALICE, {**TRUE, "experiment_id": experiment_id}
                )
        with pytest.raises(ValidationFailed) as refused:
            await engine.submissions.create_tasks(ALICE, [TRUE, request])
        assert [v.field for v in refused.value.violations] == ["tasks[1].experiment_id"]
        # A repeated create was accepted when the experiment was active still.
        assert (await engine.submissions.create_task(ALICE, request, "key")).id == first.id
        await box.experiments.delete(ALICE, made.id)
        page = await engine.tasks.list(VIEWER, TaskQuery(experiment_id=made.id))
        assert page.total == 2


async def test_one_user_can_t_take_the_place_of_others(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OF_ONE_USER", 2)
    async with box.engine():
        made = [await box.experiments.create(ALICE, {"name": "a"}) for _ in range(2)]
        with pytest.raises(Unavailable, match=r"Per-user experiment limit \(2\)"):
            await box.experiments.create(ALICE, {"name": "a"})
        await box.experiments.create(BOB, {"name": "b"})
        await box.experiments.delete(ALICE, made[0].id)
        await box.experiments.create(ALICE, {"name": "a"})


async def test_rejected_requests(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    async def exists(who: object, snapshot_id: str) -> bool:
        return snapshot_id == "known"

    monkeypatch.setattr(module, "MAX_EXPERIMENTS", 1)
    async with box.engine():
        store = box.parts.store
        experiments = Experiments(
            await KnownExperiments.load(store, nothing_stored()),
            store,
            box.parts.audit,
            clock=Clock(),
            ids=IdSequence(),
            private=False,
            snapshot_exists=exists,
        )
        with pytest.raises(ValidationFailed, match="name: is required"):
            await experiments.create(ALICE, {})
        with pytest.raises(ValidationFailed, match="commit_id: snapshot not found"):
            await experiments.create(ALICE, {"name": "a", "commit_id": "unknown"})
        made = await experiments.create(ALICE, {"name": "a", "commit_id": "known"})
        assert made == Experiment(made.id, "alice", "a", made.created_at, commit_id="known")
        with pytest.raises(Unavailable, match="delete some"):
            await experiments.create(ALICE, {"name": "b"})
    async with box.engine(min_free_bytes=1 << 60):
        with pytest.raises(Unavailable, match="disk"):
            await box.experiments.create(ALICE, {"name": "b"})
        await box.experiments.delete(ALICE, made.id)


def counts(box: Box, who: Principal, experiment_id: str) -> dict[Status, int]:
    """Only statuses that tasks have."""
    found = box.experiments.get(who, experiment_id)
    return {k: n for k, n in box.experiments.with_counts(who, found).counts.items() if n}


async def test_counts_follow_every_change_of_a_task(box: Box) -> None:
    """They are at any time what a list of each status finds, after a restart too."""
    async with box.engine() as engine:
        made = await box.experiments.create(ALICE, {"name": "a"})
        other = await box.experiments.create(ALICE, {"name": "b"})

        async def agree(expected: dict[Status, int]) -> None:
            assert counts(box, VIEWER, made.id) == expected
            for status in Status:
                query = TaskQuery(experiment_id=made.id, states=(status,))
                assert (await engine.tasks.list(VIEWER, query)).total == expected.get(status, 0)

        await agree({})
        request = {**TRUE, "experiment_id": made.id}
        done = await engine.submissions.create_task(ALICE, request)
        await engine.submissions.create_task(BOB, TRUE)
        await engine.submissions.create_task(BOB, {**TRUE, "experiment_id": other.id, "hold": True})
        await ended(engine, done.id)
        await agree({Status.COMPLETED: 1})
        held = await engine.submissions.create_tasks(BOB, [{**request, "hold": True}] * 3)
        await agree({Status.COMPLETED: 1, Status.QUEUED: 3})
        await engine.changes.cancel(BOB, held[0].id)
        await ended(engine, held[0].id)
        await engine.changes.update(BOB, held[0].id, {"metadata": {"note": "after its end"}})
        await agree({Status.COMPLETED: 1, Status.QUEUED: 2, Status.FAILED: 1})
        await engine.changes.delete(ALICE, done.id)
        await agree({Status.QUEUED: 2, Status.FAILED: 1})
    async with box.engine() as engine:
        await agree({Status.QUEUED: 2, Status.FAILED: 1})
        await engine.changes.cancel(BOB, held[1].id)
        await ended(engine, held[1].id)
        await agree({Status.QUEUED: 1, Status.FAILED: 2})


async def test_counts_of_a_deleted_experiment_are_dropped(box: Box) -> None:
    async with box.engine() as engine:
        made = await box.experiments.create(ALICE, {"name": "a"})
        request = {**TRUE, "experiment_id": made.id, "hold": True}
        first, second = await engine.submissions.create_tasks(ALICE, [request] * 2)
        await box.experiments.delete(ALICE, made.id)
        await engine.changes.cancel(ALICE, first.id)
        await ended(engine, first.id)
        known = box.experiments._counts
        assert not known.of(made.id, None)
    async with box.engine() as engine:
        await engine.changes.cancel(ALICE, second.id)
        await ended(engine, second.id)
        assert not box.experiments._counts.of(made.id, None)


async def test_private_server_counts_what_one_sees(box: Box) -> None:
    async with box.engine(private=True) as engine:
        made = await box.experiments.create(ALICE, {"name": "a"})
        request = {**TRUE, "experiment_id": made.id, "hold": True}
        await engine.submissions.create_tasks(ALICE, [request] * 2)
        assert counts(box, ADMIN, made.id) == {Status.QUEUED: 2}
        own = await engine.submissions.create_task(ADMIN, request)
        assert counts(box, ALICE, made.id) == {Status.QUEUED: 2}
        assert counts(box, ADMIN, made.id) == {Status.QUEUED: 3}
        await engine.changes.cancel(ADMIN, own.id)
        await ended(engine, own.id)
        assert counts(box, ALICE, made.id) == {Status.QUEUED: 2}
        assert counts(box, ADMIN, made.id) == {Status.QUEUED: 2, Status.FAILED: 1}
