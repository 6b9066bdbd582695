"""Sweeps over an engine whose store is in memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fetchml.core.model import FailureReason, Principal, Role, Status, Task
from fetchml.core.sweeps import model
from fetchml.engine.sweep_records import KnownSweeps
from fetchml.engine.sweeps import Sweeps, SweepView
from fetchml.errors import BadRequest, Forbidden, NotFound, Unavailable, ValidationFailed
from fetchml.ports.store import TaskQuery
from tests.support.memory_engine import MemoryEngine, memory_engine

ALICE = Principal("alice", Role.USER, "key-a")
BOB = Principal("bob", Role.USER, "key-b")
ADMIN = Principal("root", Role.ADMIN, "key-r")
VIEWER = Principal("eve", Role.VIEWER, "key-e")
SIX = {
    "task": {"job_name": "train", "args": "--lr {lr}", "env": {"SEED": "{seed}"}},
    "parameters": {"lr": {"values": [0.1, 0.2]}, "seed": {"range": [1, 3]}},
}


@pytest.fixture
async def box() -> AsyncIterator[MemoryEngine]:
    async with memory_engine() as made:
        yield made


async def of_sweep(box: MemoryEngine, sweep_id: str, *states: Status) -> list[Task]:
    """Its tasks by their index."""
    page = await box.engine.tasks.list(ADMIN, TaskQuery(sweep_id=sweep_id, states=states, limit=99))
    assert page.total == len(page.tasks)
    return sorted(page.tasks, key=lambda task: task.spec.sweep.index if task.spec.sweep else -1)


def counts(view: SweepView) -> dict[str, int]:
    return {status.value: number for status, number in view.counts.items() if number}


async def test_sweep_and_its_tasks_are_created_together(box: MemoryEngine) -> None:
    sweeps = box.engine.sweeps
    made = await sweeps.create(ALICE, SIX)
    assert (made.sweep.total, made.sweep.name, made.sweep.user) == (6, "train", "alice")
    assert counts(made) == {"queued": 6}
    assert made.sweep.parameters == {"lr": "0.1, 0.2", "seed": "1, 2, 3"}
    found = await of_sweep(box, made.sweep.id)
    assert [(task.spec.args, task.spec.env) for task in found[:2]] == [
        ("--lr 0.1", {"SEED": "1"}),
        ("--lr 0.1", {"SEED": "2"}),
    ]
    assert len({task.id for task in found}) == 6
    assert sweeps.get(BOB, made.sweep.id) == made
    assert sweeps.page(ADMIN).sweeps == [made]
    assert sweeps.page(ADMIN, user="bob").total == 0
    actions = [(entry.action, entry.target, entry.detail) for entry in box.store.audit]
    assert actions == [("sweep.create", made.sweep.id, "6 tasks, train")]


async def test_counts_follow_the_tasks_and_survive_a_restart(box: MemoryEngine) -> None:
    sweeps = box.engine.sweeps
    sweep_id = (await sweeps.create(ALICE, SIX)).sweep.id
    tasks = await of_sweep(box, sweep_id)
    await box.change(tasks[0].id, status=Status.RUNNING, attempt=1)
    await box.change(tasks[1].id, status=Status.COMPLETED, attempt=1, ended_at=5)
    await box.change(tasks[2].id, status=Status.PREPARING, prestaged=True)
    await box.change(tasks[3].id, status=Status.FAILED, ended_at=5)
    expected = {"queued": 3, "running": 1, "completed": 1, "failed": 1}
    assert counts(sweeps.get(ALICE, sweep_id)) == expected
    await box.engine.changes.delete(ALICE, tasks[1].id)
    del expected["completed"]
    view = sweeps.get(ALICE, sweep_id)
    assert (counts(view), view.deleted) == (expected, 1)
    again = await reopened(box)
    view = again.get(ALICE, sweep_id)
    assert (counts(view), view.deleted, view.sweep.total) == (expected, 1, 6)


async def reopened(box: MemoryEngine) -> Sweeps:
    """The sweeps as another start finds them."""
    restored = await box.store.open(recent_limit=5, on_fatal=lambda _: None)
    known = await KnownSweeps.load(box.store, restored)
    made: Any = Sweeps.__new__(Sweeps)
    made._records, made._counts, made._private = known.records, known.counts, False
    found: Sweeps = made
    return found


async def test_cancel_ends_all_and_retry_takes_their_places(box: MemoryEngine) -> None:
    sweeps = box.engine.sweeps
    sweep_id = (await sweeps.create(ALICE, SIX)).sweep.id
    first = await of_sweep(box, sweep_id)
    await box.change(first[0].id, status=Status.COMPLETED, attempt=1, ended_at=5)
    box.parts.state.forget(first[0])
    done = await sweeps.cancel(ALICE, sweep_id)
    assert (done.tasks, counts(done.sweep)) == (5, {"completed": 1, "failed": 5})
    assert (await sweeps.cancel(ALICE, sweep_id)).tasks == 0
    cancelled = await of_sweep(box, sweep_id, Status.FAILED)
    assert {task.failure_reason for task in cancelled} == {FailureReason.CANCELLED}
    done = await sweeps.retry(ADMIN, sweep_id)
    assert (done.tasks, counts(done.sweep)) == (5, {"completed": 1, "queued": 5})
    second = await of_sweep(box, sweep_id)
    assert len(second) == 6
    assert [task.spec.args for task in second] == [task.spec.args for task in first]
    assert [task.user for task in second] == ["alice"] * 6, "an admin does it on her behalf"
    assert {task.id for task in first} & {task.id for task in second} == {first[0].id}
    assert (await box.engine.tasks.get(ALICE, first[1].id)).status is Status.FAILED
    assert (await sweeps.retry(ALICE, sweep_id)).tasks == 0
    audited = [(entry.action, entry.user, entry.target, entry.detail) for entry in box.store.audit]
    assert audited[1:] == [
        ("sweep.cancel", "alice", sweep_id, "5 tasks"),
        ("sweep.cancel", "alice", sweep_id, "0 tasks"),
        ("sweep.retry", "root", sweep_id, "5 tasks"),
        ("sweep.retry", "alice", sweep_id, "0 tasks"),
    ]
    # Deleting the replaced one, or changing its labels, changes no count.
    await box.engine.changes.update(ALICE, first[1].id, {"metadata": {"a": "b"}})
    await box.parts.ended.remove([first[1].id])
    assert counts(sweeps.get(ALICE, sweep_id)) == {"completed": 1, "queued": 5}
    assert counts((await reopened(box)).get(ALICE, sweep_id)) == {"completed": 1, "queued": 5}


async def test_key_creates_one_sweep(box: MemoryEngine) -> None:
    sweeps = box.engine.sweeps
    made = await asyncio.gather(*(sweeps.create(ALICE, SIX, "key") for _ in range(3)))
    assert len({view.sweep.id for view in made}) == 1
    assert (await sweeps.create(BOB, SIX, "key")).sweep.id != made[0].sweep.id
    with pytest.raises(ValidationFailed, match="another request"):
        await sweeps.create(ALICE, {**SIX, "name": "other"}, "key")
    with pytest.raises(BadRequest, match="Idempotency-Key"):
        await sweeps.create(ALICE, SIX, "a b")
    assert len(box.tasks) == 12


@pytest.mark.parametrize(
    ("task", "parameters", "fault"),
    [
        ({}, {"lr": {"values": [1]}}, "task.job_name: is required"),
        ({"job_name": "a", "experiment_id": "e"}, {"lr": {"values": [1]}}, "task.experiment_id"),
        ({"job_name": "a", "snapshot_id": "e"}, {"lr": {"values": [1]}}, "task.snapshot_id"),
        ({"job_name": "a", "env": {"A": "{lr}" * 33}}, {"lr": {"values": ["", "x" * 1000]}},
         "task.env: A must not be longer than 32767 characters (in the task with index 1)"),
    ],
)  # fmt: skip
async def test_faults_name_field_and_rule(
    box: MemoryEngine, task: object, parameters: object, fault: str
) -> None:
    with pytest.raises(ValidationFailed) as error:
        await box.engine.sweeps.create(ALICE, {"task": task, "parameters": parameters})
    assert fault in error.value.message
    assert not box.tasks
    assert box.engine.sweeps.page(ADMIN).total == 0


PROJECT = 'command = ["train", "--lr={lr}", "{{lr}}", "{"]\nenv = { A = "{lr}", B = "{lr}" }\n'


async def test_placeholders_of_the_snapshots_file(box: MemoryEngine) -> None:
    await box.add_snapshot("code", PROJECT)
    task = {"job_name": "a", "snapshot_id": "code", "env": {"B": "b", "C": "{lr}"}}
    parameters = {"lr": {"values": [1, 2]}}
    made = await box.engine.sweeps.create(ALICE, {"task": task, "parameters": parameters})
    _, second = await of_sweep(box, made.sweep.id)
    assert second.spec.command == ("train", "--lr=2", "{lr}", "{")
    assert second.spec.env == {"A": "2", "B": "b", "C": "2"}
    # A command of the request replaces that of the file.
    await box.engine.sweeps.create(
        ALICE, {"task": {**task, "command": ["other"]}, "parameters": parameters}
    )
    # A task by itself has no parameters.
    alone = await box.engine.submissions.create_task(ALICE, task)
    assert alone.spec.command == ("train", "--lr={lr}", "{{lr}}", "{")


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ('command = ["{lx}"]', "fetchml.toml: line 1: command has the placeholder {lx}"),
        ('\nenv = { A = "{lx}" }', "fetchml.toml: line 2: env has the placeholder {lx}"),
        ('command = "{lx}"', "fetchml.toml: line 1: command must be a list"),
    ],
)
async def test_unknown_placeholder_of_the_snapshots_file(
    box: MemoryEngine, file: str, fault: str
) -> None:
    await box.add_snapshot("code", file)
    request = {
        "task": {"job_name": "a", "snapshot_id": "code"},
        "parameters": {"lr": {"values": [1]}},
    }
    with pytest.raises(ValidationFailed) as error:
        await box.engine.sweeps.create(ALICE, request)
    assert fault in error.value.message


async def test_roles_and_private_mode(box: MemoryEngine) -> None:
    sweeps = box.engine.sweeps
    with pytest.raises(Forbidden):
        await sweeps.create(VIEWER, SIX)
    sweep_id = (await sweeps.create(ALICE, SIX)).sweep.id
    for who in (BOB, VIEWER):
        with pytest.raises(Forbidden):
            await sweeps.cancel(who, sweep_id)
        with pytest.raises(Forbidden):
            await sweeps.retry(who, sweep_id)
    sweeps._private = True
    for who in (BOB, VIEWER):
        assert sweeps.page(who).total == 0
        with pytest.raises(NotFound):
            sweeps.get(who, sweep_id)
        with pytest.raises(NotFound):
            await sweeps.cancel(who, sweep_id)
        with pytest.raises(NotFound):
            await box.engine.ranking.best(who, sweep_id, "loss")
    assert sweeps.page(ADMIN).total == sweeps.page(ALICE).total == 1


async def test_full_server_drops_a_sweep_without_tasks(
    box: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "MAX_OF_ONE_USER", 2)
    sweeps = box.engine.sweeps
    made = [(await sweeps.create(ALICE, SIX)).sweep.id for _ in range(2)]
    with pytest.raises(Unavailable, match=r"per-user sweep limit \(2\) reached"):
        await sweeps.create(ALICE, SIX)
    await sweeps.create(BOB, SIX)
    for task in await of_sweep(box, made[1]):
        await box.change(task.id, status=Status.FAILED, ended_at=5)
        await box.change(task.id, hidden=True)
    new = (await sweeps.create(ALICE, SIX)).sweep.id
    assert [view.sweep.id for view in sweeps.page(ALICE, user="alice").sweeps] == [new, made[0]]


async def test_best_tasks(box: MemoryEngine) -> None:
    sweep_id = (await box.engine.sweeps.create(ALICE, SIX)).sweep.id
    tasks = await of_sweep(box, sweep_id)
    for task, metrics in zip(
        tasks,
        (b'{"loss": 3}', b'{"loss": 1, "acc": 0.5}', b'{"loss": 2}', b"not JSON", b'{"loss": 1}'),
        strict=False,
    ):
        box.outputs(task.id, {"metrics.json": metrics})
        await box.change(task.id, status=Status.COMPLETED, attempt=1, ended_at=5)
    best = box.engine.ranking.best
    found = await best(BOB, sweep_id, "loss", limit=3)
    assert [(each.task.id, each.value) for each in found.results] == [
        (tasks[1].id, 1),
        (tasks[4].id, 1),
        (tasks[2].id, 2),
    ]
    assert (found.total, list(found.metric_names)) == (4, ["acc", "loss"])
    found = await best(BOB, sweep_id, "loss", "max", 1)
    assert [each.value for each in found.results] == [3]
    assert (await best(BOB, sweep_id, "f1")).total == 0
    for metric, goal, limit in (("", "min", 1), ("loss", "best", 1), ("loss", "min", 0)):
        with pytest.raises(BadRequest):
            await best(BOB, sweep_id, metric, goal, limit)
