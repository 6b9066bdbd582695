"""Encoding a long list lets other requests run in between."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from fetchml.api.grpc.call import RpcContext
from fetchml.api.grpc.resources import ExperimentService, SnapshotService
from fetchml.api.grpc.sending import COPIES, REPLIES_BY_CALLER, UnreadReplies
from fetchml.api.grpc.tasks import ListReplies, TaskService
from fetchml.api.http import request as http
from fetchml.api.http.reply import Budgets, Reply
from fetchml.api.http.streams import Streams
from fetchml.api.rest.resources import ExperimentOperations
from fetchml.api.rest.snapshots import SnapshotOperations
from fetchml.api.task_json import task_json
from fetchml.api.task_messages import task_message
from fetchml.core.model import Principal, Role, Task
from fetchml.core.requests.experiment import Experiment
from fetchml.core.snapshots import Snapshot
from fetchml.engine.experiments import ExperimentCounts, ExperimentView
from fetchml.errors import TooManyBytes
from fetchml.pages import fitting
from fetchml.system import pacing
from fetchml.v1.experiment_pb2 import ListExperimentsRequest
from fetchml.v1.snapshot_pb2 import ListSnapshotsRequest
from fetchml.v1.task_pb2 import (
    BASIC,
    FULL,
    CreateTaskRequest,
    CreateTasksRequest,
    CreateTasksResponse,
    TaskList,
    View,
)
from tests.support.memory_store import nothing_stored
from tests.support.tasks import task as make_task

COUNT = 2000
WHO = Principal("ada", Role.USER, "key")


class Listed:
    """The largest number of experiments or snapshots."""

    def __init__(self, *found: Any) -> None:
        self._found = list(found)

    def list(self, who: Principal) -> list[Any]:
        return self._found

    def with_counts(self, who: Principal, found: Experiment) -> ExperimentView:
        return ExperimentView(found, NO_TASKS, None)


NO_TASKS = ExperimentCounts(nothing_stored(), lambda _: True)
EXPERIMENTS: Any = Listed(*(Experiment(str(n), "ada", "a", 0) for n in range(COUNT)))
SNAPSHOTS: Any = Listed(*(Snapshot(str(n), 1, 1, 0, 0, ("ada",)) for n in range(COUNT)))


def over_http() -> http.RestRequest:
    request = http.RestRequest(make_mocked_request("GET", "/"), "trace")
    request.principal = WHO
    return request


@pytest.mark.parametrize(
    "ask",
    [
        lambda: ExperimentService(EXPERIMENTS).ListExperiments(
            ListExperimentsRequest(), RpcContext(WHO, {})
        ),
        lambda: SnapshotService(SNAPSHOTS).ListSnapshots(
            ListSnapshotsRequest(), RpcContext(WHO, {})
        ),
        lambda: ExperimentOperations(EXPERIMENTS, body_timeout_seconds=1).list(over_http()),
        lambda: SnapshotOperations(
            SNAPSHOTS, Streams(), body_timeout_seconds=1, send_timeout_seconds=1
        ).list(over_http()),
    ],
    ids=["experiments, gRPC", "snapshots, gRPC", "experiments, REST", "snapshots, REST"],
)
async def test_long_list_lets_other_requests_run(
    ask: Callable[[], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "LONGEST_SECONDS", 0.0)
    monkeypatch.setattr(pacing, "SHORT_SECONDS", 0.0)
    turns = await turns_of(ask())
    assert turns > COUNT // http.ROWS_PER_STEP, "it asks after every few whether that is due"


def large_tasks(count: int) -> list[Task]:
    """Of 250 KB each."""
    return [
        make_task(f"{n}", metadata={"notes": "\N{ROCKET}" * 62_500}, args=f"{n}")
        for n in range(count)
    ]


async def test_large_page_is_not_copied_into_its_reply() -> None:
    request = http.RestRequest(make_mocked_request("GET", "/"), "trace", "", Budgets())
    request.principal = WHO
    found = large_tasks(60)
    expected = msgspec.json.encode({"tasks": [task_json(each, full=True) for each in found]})
    tracemalloc.start()
    try:
        rows = await request.rows(partial(task_json, full=True), found)
        reply = request.json({"tasks": rows})
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1.2 * len(expected)
    assert isinstance(reply, Reply)
    assert b"".join(reply._pieces) == expected
    assert reply.headers["Content-Length"] == f"{len(expected)}"


async def test_pages_of_any_size_are_the_json_of_their_tasks() -> None:
    for count in (0, 1, 2, 17, 700):
        request = over_http()
        found = [make_task(f"{n}", job_name="\N{ROCKET}" * (n % 3 + 1)) for n in range(count)]
        rows = await request.rows(task_json, found)
        reply = request.json_response({"a": rows, "total": count, "b": "\0"})
        assert isinstance(reply, web.Response)
        expected = {"a": [task_json(each) for each in found], "total": count, "b": "\0"}
        assert reply.body == msgspec.json.encode(expected)


async def test_two_large_lists_of_a_reply_stand_in_their_places() -> None:
    request = over_http()
    second = await request.rows(str, ["b" * 300_000])
    first = await request.rows(str, ["a" * 300_000])
    reply = request.json_response({"first": first, "second": second})
    assert isinstance(reply, web.Response)
    assert reply.body == b'{"first":["%b"],"second":["%b"]}' % (b"a" * 300_000, b"b" * 300_000)


async def test_large_page_is_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "LONGEST_SECONDS", 0.0)
    monkeypatch.setattr(pacing, "SHORT_SECONDS", 0.0)
    found = large_tasks(20)
    assert await turns_of(fitting(found, 16 << 20, brief=False)) >= 9
    assert await fitting(found, 16 << 20, brief=False) == 20
    assert await fitting(found, 1 << 20, brief=False) == 4
    assert await fitting(found, 1, brief=False) == 1
    assert await fitting(found, 10 << 10, brief=True) == 10


async def test_large_grpc_page_is_serialized_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "LONGEST_SECONDS", 0.0)
    monkeypatch.setattr(pacing, "SHORT_SECONDS", 0.0)
    replies, found = ListReplies(UnreadReplies()), large_tasks(20)

    async def made() -> bytes:
        head = TaskList(total=20, limit=50, next_page_token="next")
        reply = await replies.with_tasks(head, found, full=True, caller="key")
        assert isinstance(reply, bytes)
        return reply

    both = asyncio.gather(made(), made())  # Large ones are made one after the other.
    assert await turns_of(both) >= 40
    expected = TaskList(
        tasks=[task_message(each, full=True) for each in found],
        total=20,
        limit=50,
        next_page_token="next",
    )
    for reply in both.result():
        assert TaskList.FromString(reply) == expected


async def test_unread_grpc_reply_counts_as_often_as_it_is_in_memory() -> None:
    unread = UnreadReplies()
    unread.last("key", REPLIES_BY_CALLER // 3)
    with pytest.raises(TooManyBytes):
        unread.last("key", REPLIES_BY_CALLER // 3)
    unread.last("other", REPLIES_BY_CALLER // 3)


async def test_grpc_list_counts_as_unread_while_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list beyond the budget is refused early: most of its tasks are not looked at."""
    monkeypatch.setattr(pacing, "LONGEST_SECONDS", 0.0)
    monkeypatch.setattr(pacing, "SHORT_SECONDS", 0.0)
    unread = UnreadReplies()
    replies, looked_at = ListReplies(unread), list[str]()

    def looked_at_tasks() -> Iterator[Task]:
        for each in large_tasks(20):
            looked_at.append(each.id)
            yield each

    async def made(caller: str) -> object:
        return await replies.with_tasks(TaskList(), looked_at_tasks(), full=True, caller=caller)

    with unread.counted("key", (REPLIES_BY_CALLER - (2 << 20)) // COPIES):
        with pytest.raises(TooManyBytes):
            await made("key")
        assert 3 <= len(looked_at) <= 6, looked_at
        await made("other")
    reply = await made("key")
    assert isinstance(reply, bytes)
    # What was counted is given back: a reply of the whole budget has room.
    unread.last("key", REPLIES_BY_CALLER // COPIES)
    unread.last("other", REPLIES_BY_CALLER // COPIES)


async def test_batch_whose_full_reply_has_no_room_creates_nothing() -> None:
    unread, created = UnreadReplies(), list[str]()

    class Creating:
        async def create_tasks(
            self, who: Principal, fields: list[dict[str, Any]], keys: object
        ) -> list[Task]:
            made = [make_task(f"{n}", **each) for n, each in enumerate(fields)]
            created.extend(each.id for each in made)
            return made

    engine: Any = SimpleNamespace(submissions=Creating())
    service = TaskService(engine, unread)

    async def create(view: View) -> CreateTasksResponse:
        async def batches() -> AsyncIterator[CreateTasksRequest]:
            one = CreateTaskRequest(job_name="a", args="x" * 100_000, view=view)
            yield CreateTasksRequest(tasks=[one] * 5)

        return await service.CreateTasks(batches(), RpcContext(WHO, {}))

    with unread.counted(WHO.key_id, (REPLIES_BY_CALLER - (512 << 10)) // COPIES):
        with pytest.raises(TooManyBytes):
            await create(FULL)
        assert not created
        assert len((await create(BASIC)).tasks) == 5
    assert len((await create(FULL)).tasks) == 5


async def test_values_of_variables_take_no_room_in_the_reply_of_a_batch() -> None:
    class Creating:
        async def create_tasks(self, who: Principal, fields: list[Any], keys: object) -> list[Task]:
            return [make_task(f"{n}") for n, _ in enumerate(fields)]

    engine: Any = SimpleNamespace(submissions=Creating())
    unread = UnreadReplies()
    one = CreateTaskRequest(job_name="a", view=FULL, env={"A": "x" * 100_000})

    async def batches() -> AsyncIterator[CreateTasksRequest]:
        yield CreateTasksRequest(tasks=[one] * 5)

    with unread.counted(WHO.key_id, (REPLIES_BY_CALLER - (512 << 10)) // COPIES):
        reply = await TaskService(engine, unread).CreateTasks(batches(), RpcContext(WHO, {}))
    assert len(reply.tasks) == 5


async def turns_of(work: Awaitable[object]) -> int:
    """Passes of the event loop until the work is done."""
    doing, turns = asyncio.ensure_future(work), 0
    while not doing.done():
        turns += 1
        await asyncio.sleep(0)
    await doing
    return turns
