"""Random changes, folds, reopenings and crashes: the store answers what one in memory answers."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fetchml.adapters.duckdb import maintenance
from fetchml.core.model import ENDED, Idempotency, Status, SweepMember
from fetchml.ports.store import Document, TaskQuery
from tests.support.memory_store import MemoryStore
from tests.support.stores import Opened, numbered, open_store

USERS = ("ann", "bob")

creates = st.tuples(
    st.just("create"),
    st.sampled_from(USERS),
    st.integers(0, 5),  # created_at: ties are wanted
    st.sampled_from((None, "exp-1", "exp-2")),
    st.sampled_from((None, "key-1", "key-2")),
    st.sampled_from((False, False, True)),  # a service
    st.sampled_from((None, {"lr": "1"}, {"lr": "", "x": "1"}, {'$."a': "b", "": "0", "/~": "\\"})),
    st.sampled_from((None, "--lr 1", 'É "x"\n')),
    st.sampled_from((None, None, "sweep-1", "exp-1")),  # a sweep, one with an experiment's name
)
changes = st.tuples(
    st.just("change"), st.integers(0, 30), st.sampled_from(Status), st.sampled_from((False, True))
)
supersedes = st.tuples(st.just("supersede"), st.integers(0, 30))
hides = st.tuples(st.just("hide"), st.integers(0, 30))
others = st.sampled_from([("fold",), ("reopen",), ("crash",)])
queries = st.builds(
    TaskQuery,
    states=st.sampled_from(
        [
            (),
            (Status.QUEUED,),
            (Status.RUNNING, Status.PREPARING),
            (Status.QUEUED, Status.PREPARING),
            (Status.COMPLETED, Status.FAILED),
        ]
    ),
    user=st.sampled_from((None, *USERS)),
    job_name_prefix=st.sampled_from((None, "train-", "train-1", "other")),
    experiment_id=st.sampled_from((None, "exp-1")),
    sweep_id=st.sampled_from((None, None, "sweep-1")),
    fold_sweeps=st.booleans(),
    fold_experiments=st.booleans(),
    text=st.sampled_from((None, None, "RUN", "train.py --lr", "x\nimage", "%", "é")),
    labels=st.sampled_from(((), (), (("lr", None),), (("lr", "1"),), (('$."a', "b"), ("", "0")))),
    created_after=st.sampled_from((None, None, 1_003)),
    created_before=st.sampled_from((None, None, 1_003)),
    id_suffix=st.sampled_from((None, None, "0003", "_003")),
    limit=st.integers(0, 5),
    offset=st.sampled_from((0, 0, 2, 10**30)),
    before=st.none() | st.tuples(st.integers(999, 1_006), st.just("task-000004")),
)
steps = st.one_of(creates, creates, changes, changes, hides, supersedes, others, queries)


@pytest.fixture(autouse=True)
def small_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "FOLD_ROWS", 3)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(steps, min_size=5, max_size=40))
def test_store_answers_as_one_in_memory_does(script: list[object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(script, Path(folder)))


async def play(script: list[object], folder: Path) -> None:
    model = MemoryStore()
    data_dir = folder / "0"
    opened = await reopen(data_dir)
    try:
        for number, step in enumerate(script):
            data_dir, opened = await do(step, opened, model, data_dir, folder / str(number + 1))
        for each in model.tasks.values():
            assert await opened.store.get(each.id) == each
        await check_page(opened, model, TaskQuery())
        await check_changes(opened, model)
        await check_keys(opened, model)
    finally:
        await opened.store.close()
    assert opened.failures == []


async def reopen(data_dir: Path) -> Opened:
    return await open_store(data_dir, now_ms=lambda: 2_000)


async def do(
    step: object, opened: Opened, model: MemoryStore, data_dir: Path, crashed: Path
) -> tuple[Path, Opened]:
    match step:
        case TaskQuery():
            await check_page(opened, model, step)
        case ("fold",):
            await asyncio.to_thread(opened.store._maintenance.wait_folded)
        case ("reopen" | "crash" as how,):
            if how == "crash":  # what is on disk now is what a kill -9 leaves
                shutil.copytree(data_dir, crashed)
            await opened.store.close()
            data_dir = crashed if how == "crash" else data_dir
            opened = await reopen(data_dir)
            await check_restored(opened, model)
        case tuple():
            await change(opened, model, step)
    return data_dir, opened


async def change(opened: Opened, model: MemoryStore, step: tuple[object, ...]) -> None:
    made = list(model.tasks.values())
    match step:
        case ("create", str(user), int(age), experiment, key, bool(service), metadata, args, sweep):
            number = len(made)
            blank = numbered(number)
            spec = replace(
                blank.spec,
                experiment_id=experiment,
                metadata=metadata,
                args=args,
                command=("python", "train.py"),
                sweep=SweepMember(str(sweep), number, {"lr": "1"}) if sweep else None,
            )
            idempotency = Idempotency(str(key), f"digest-{number}") if key else None
            changed = replace(
                blank,
                user=user,
                created_at=1_000 + age,
                spec=spec,
                idempotency=idempotency,
                service=service,
            )
        case ("change", int(index), Status() as status, bool(prestaged)) if made:
            ended_at = 2_000 if status in ENDED else None
            old = made[index % len(made)]
            prestaged = prestaged and status is Status.PREPARING
            changed = replace(old, status=status, ended_at=ended_at, prestaged=prestaged)
        case ("supersede", int(index)) if made:
            changed = replace(made[index % len(made)], superseded=True)
        case ("hide", int(index)) if made:
            changed = replace(made[index % len(made)], hidden=True)
        case _:
            return
    changes = opened.number([changed])
    await opened.store.append(changes)
    assert opened.announced[-1] == changes[0]
    model.append(changes)
    documents = [Document("kind", changed.id, b"{}")]
    if changed.spec.sweep is not None:
        changes = opened.number([changed])
        await opened.store.append(changes, documents=documents)
        model.append(changes, documents=documents)
    assert await opened.store.list_documents("kind") == await model.list_documents("kind")
    assert await opened.store.get(changed.id) == changed


async def check_page(opened: Opened, model: MemoryStore, query: TaskQuery) -> None:
    assert await opened.store.list_tasks(query) == await model.list_tasks(query)


async def check_changes(opened: Opened, model: MemoryStore) -> None:
    for seq in range(0, len(model.journal) + 1, 3):
        found = await opened.store.changes_since(seq, 7)
        assert found == await model.changes_since(seq, 7)


async def check_keys(opened: Opened, model: MemoryStore) -> None:
    for user in USERS:
        keys = ["key-1", "key-2", "no such key"]
        found = await opened.store.find_idempotent(user, keys)
        known = await model.find_idempotent(user, keys)
        # Of two creates at one time under one key either may be found.
        assert {key: create.at for key, create in found.items()} == {
            key: create.at for key, create in known.items()
        }
        for key, create in found.items():
            assert model.tasks[create.task_id].idempotency == Idempotency(key, create.digest)


async def check_restored(opened: Opened, model: MemoryStore) -> None:
    wanted = await model.open(recent_limit=10, on_fatal=opened.failures.append)
    assert replace(opened.restored, instance_id="") == replace(wanted, instance_id="")
