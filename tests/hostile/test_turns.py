"""No request occupies the event loop for more than 150 ms."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from fetchml.api.grpc.call import RpcContext
from fetchml.api.grpc.sending import UnreadReplies
from fetchml.api.grpc.tasks import TaskService
from fetchml.core.model import Change, Status, Task
from fetchml.core.requests import submission
from fetchml.core.requests.submission import MAX_ARGUMENT_CHARACTERS, MAX_BATCH
from fetchml.engine.engine import Engine
from fetchml.errors import MAX_VIOLATIONS, QueueQuotaReached, ValidationFailed
from fetchml.ports.store import TaskQuery
from fetchml.v1 import task_pb2
from fetchml.views import UpdateType, WatchFilter
from tests.hostile.turns import LONGEST_SECONDS, longest_turn
from tests.support.engine_box import ALICE, BOB, Box
from tests.support.rest_world import JSON, rest_world
from tests.support.tasks import task

QUOTED = '"' + "😀" * (MAX_ARGUMENT_CHARACTERS - 3)
WAITING = 100_000
Create = task_pb2.CreateTaskRequest
Batch = task_pb2.CreateTasksRequest


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "data")


def refusing(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    async def refused() -> None:
        with pytest.raises(ValidationFailed):
            await work()

    return refused


ONE: dict[str, dict[str, object]] = {
    "a quote and emoji": {"args": QUOTED},
    "empty words": {"args": '""' * (MAX_ARGUMENT_CHARACTERS // 2) + "'"},
    "long mount paths": {
        "dataset_specs": [
            {"name": "a", "source": "http://h/x", "mount_path": f"/m{n % 59}" + "/x" * 2000}
            for n in range(60)
        ]
    },
    "deep sources": {"dataset_specs": [{"source": "../" + "x/" * 2000 + "a"}] * 60},
    "metadata": {"metadata": {f"{n}": "" for n in range(100_000)}},
    "datasets": {"datasets": [f"{n}" for n in range(100_000)]},
    "properties": {f"p{n}": n for n in range(100_000)},
    "command": {"command": ["x" * 32_000] * 30},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE)
async def test_single_request_has_short_turns(box: Box, name: str) -> None:
    async with box.engine() as engine:
        box.datasets_root.mkdir(exist_ok=True)
        request = {"job_name": "a", **ONE[name]}
        work = refusing(lambda: engine.submissions.create_task(ALICE, request))
        longest = await longest_turn(work)
        print(name, longest)
        assert longest < LONGEST_SECONDS


BATCHES: dict[str, list[Create]] = {
    "quotes and emoji": [Create(job_name="a", args=QUOTED)] * 120,
    "every task is wrong": [Create(job_name="!" * 1500)] * MAX_BATCH,
    "only the last is wrong": [
        *[Create(job_name="a", metadata={"k": "v" * 1500})] * (MAX_BATCH - 1),
        Create(job_name="!"),
    ],
    "one key for all": [Create(job_name="a", idempotency_key="k")] * MAX_BATCH,
    "many entries": [Create(job_name="a", env={f"A{n}": "" for n in range(100_000)})] * 4,
}


async def create_tasks(
    engine: Engine, message: task_pb2.CreateTasksRequest
) -> task_pb2.CreateTasksResponse:
    async def received() -> AsyncIterator[task_pb2.CreateTasksRequest]:
        yield message

    return await TaskService(engine, UnreadReplies()).CreateTasks(received(), RpcContext(ALICE, {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", BATCHES)
async def test_refused_batch_has_short_turns(box: Box, name: str) -> None:
    async with box.engine() as engine:
        batch = Batch(tasks=BATCHES[name])
        work = refusing(lambda: create_tasks(engine, batch))
        assert await longest_turn(work) < LONGEST_SECONDS
        assert (await engine.tasks.list(ALICE, TaskQuery(limit=0))).total == 0


@pytest.mark.slow
async def test_refused_batches_at_one_time_share_their_turns(box: Box) -> None:
    """Messages of 1 MB, whose last task is wrong."""
    tasks = [Create(job_name="a", metadata={"k": "v" * 1600})] * 600
    batch = Batch(tasks=[*tasks, Create(job_name="!")])
    async with box.engine() as engine:

        async def all_at_once() -> None:
            calls = [create_tasks(engine, batch) for _ in range(15)]
            replies = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(reply) for reply in replies} == {ValidationFailed}

        assert await longest_turn(all_at_once) < LONGEST_SECONDS


async def test_large_lists_at_one_time_share_their_turns() -> None:
    async with rest_world() as rest:
        request = {"job_name": "a", "metadata": {"k": "🚀" * 60_000}}
        body = json.dumps(request, ensure_ascii=False).encode()
        for _ in range(60):  # nearly as much as a page may have
            assert (await rest.client.ask("POST", "/v1/tasks", body, **JSON)).status == 201

        def listed() -> int:
            """In a thread: reading so much takes long turns too."""
            with closing(HTTPConnection(rest.client.url("/").authority)) as connection:
                connection.request("GET", "/v1/tasks?view=full", headers=rest.client.with_key({}))
                reply = connection.getresponse()
                reply.read()
                return reply.status

        async def lists() -> None:
            asked = [asyncio.to_thread(listed) for _ in range(12)]
            assert {200} <= {*await asyncio.gather(*asked)} <= {200, 429}

        assert await longest_turn(lists) < LONGEST_SECONDS


async def test_refused_batch_lists_a_bounded_number_of_errors(box: Box) -> None:
    async with box.engine() as engine:
        with pytest.raises(ValidationFailed) as error:
            await create_tasks(engine, Batch(tasks=BATCHES["every task is wrong"]))
    assert len(error.value.violations) == MAX_VIOLATIONS + 1
    assert error.value.violations[-1].field == "tasks"


async def test_quota_is_checked_before_the_tasks(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    async with box.engine(user_queued=10) as engine:
        monkeypatch.setattr(submission, "accept", None)
        with pytest.raises(QueueQuotaReached):
            await create_tasks(engine, Batch(tasks=[Create(job_name="a")] * 11))


def small(number: int, after: str) -> Create:
    return Create(job_name="a", idempotency_key=f"{number}")


def large(number: int, after: str) -> Create:
    """About 1.5 KB: 10,000 of them are as large as a message may be."""
    return Create(
        job_name="a",
        command=["python", "train.py"],
        args=" ".join(f"--a{n}={number}" for n in range(20)),
        env={f"A{n}": "v" * 20 for n in range(20)},
        metadata={f"k{n}": "v" * 10 for n in range(20)},
        priority=number % 10 + 1,
        cpu=number % 2 + 1,
        memory_gb=number % 8 + 1,
        timeout_seconds=600,
        max_retries=3,
        after=[task_pb2.Dependency(task_id=after)],
    )


@pytest.mark.slow
@pytest.mark.parametrize("request_of", [small, large])
async def test_accepted_batch_has_short_turns(
    box: Box, request_of: Callable[[int, str], Create]
) -> None:
    async with box.engine(max_running=1) as engine:
        blocker = await engine.submissions.create_task(
            BOB, {"job_name": "a", "command": ["sleep", "600"]}
        )
        batch = Batch(tasks=[request_of(number, blocker.id) for number in range(MAX_BATCH)])

        async def create() -> None:
            assert len((await create_tasks(engine, batch)).tasks) == MAX_BATCH

        assert await longest_turn(create) < LONGEST_SECONDS
        assert await longest_turn(create) < LONGEST_SECONDS, "again"
        await engine.changes.cancel(BOB, blocker.id)


async def test_large_sweep_has_short_turns(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        blocker = await engine.submissions.create_task(
            BOB, {"job_name": "a", "command": ["sleep", "600"]}
        )
        request = {
            "task": {"job_name": "a", "args": "--seed {seed}", "after": [blocker.id]},
            "parameters": {"seed": {"range": [1, MAX_BATCH]}},
        }
        for validate_only in (True, False):

            async def create(validate_only: bool = validate_only) -> None:
                made = await engine.sweeps.create(ALICE, request, validate_only=validate_only)
                assert made.sweep.total == MAX_BATCH

            assert await longest_turn(create) < LONGEST_SECONDS, f"{validate_only=}"
        await engine.changes.cancel(BOB, blocker.id)


def fill(box: Box, count: int = WAITING) -> list[Task]:
    """So many waiting tasks, in memory only."""
    parts = box.parts
    now = parts.clock()
    tasks = [task(parts.ids.next(now), cpu=2, created_at=now) for _ in range(count)]
    for each in tasks:
        parts.state.tasks[each.id] = each
        parts.state.wait(each, now)
    parts.index.committed([Change(parts.feed.last_seq, now, task) for task in tasks])
    return tasks


@pytest.mark.slow
async def test_long_queue_has_short_turns(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        blocker = await engine.submissions.create_task(
            BOB, {"job_name": "b", "command": ["sleep", "600"]}
        )
        tasks = fill(box)

        async def watch_nothing() -> None:
            where = WatchFilter(user="nobody")
            async with aclosing(engine.watches.watch(ALICE, where, snapshot=True)) as updates:
                assert (await anext(updates)).type is UpdateType.SYNCED

        async def watch_the_last() -> None:
            where = WatchFilter(task_id=tasks[-1].id)
            async with aclosing(engine.watches.watch(ALICE, where, snapshot=True)) as updates:
                assert (await anext(updates)).task == tasks[-1]

        async def explain() -> None:
            assert (await engine.tasks.explain(ALICE, tasks[-1].id)).position == WAITING

        async def page(query: TaskQuery) -> None:
            await engine.tasks.list(ALICE, query)

        rows = {
            "watch": watch_nothing,
            "watch one": watch_the_last,
            "explain": explain,
            "deep page": lambda: page(TaskQuery(offset=9_000, limit=1000)),
            "one state": lambda: page(TaskQuery(states=(Status.RUNNING,), limit=10)),
            "one user": lambda: page(TaskQuery(user=BOB.user, limit=10)),
            "prefix": lambda: page(TaskQuery(job_name_prefix="x", limit=10)),
            "delete": lambda: engine.changes.cancel(BOB, blocker.id),
            "stats": lambda: engine.status.queue_stats(BOB),
        }
        found = {name: await longest_turn(work) for name, work in rows.items()}
        assert max(found.values()) < LONGEST_SECONDS, found
