"""When it is tried again, and what a cut does to a stream: the client's rules, without a server."""

import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import aclosing, closing
from typing import Any

import grpc
import pytest

from fetchml.client import (
    AsyncClient,
    CallError,
    Client,
    NotFound,
    Options,
    RateLimited,
    Unavailable,
    WatchTasksResponse,
    rpcs,
)
from fetchml.client.cursors import LogCursor, WatchCursor
from fetchml.client.retries import Backoff
from fetchml.v1 import task_pb2_grpc
from fetchml.v1.task_pb2 import Task, TaskLogChunk, WatchTasksRequest

Update = WatchTasksResponse


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_patience_begins_with_the_first_cut(clock: list[float]) -> None:
    patience = Backoff(300)
    clock[0] = 1000
    pauses = [patience.pause(Unavailable("away")) for _ in range(10)]
    assert pauses[0] <= 0.1
    assert 2.5 <= max(pauses) <= 5
    clock[0] = 1200
    patience.reset()
    clock[0] = 1499
    patience.pause(Unavailable("away"))
    clock[0] = 1800
    with pytest.raises(Unavailable, match="away"):
        patience.pause(Unavailable("away"))


def test_a_deadline_is_not_outwaited(clock: list[float]) -> None:
    patience = Backoff(30, begun=True)
    assert patience.pause(RateLimited("busy", retry_after=7)) == 7
    clock[0] = 25
    assert patience.remaining() == 5
    with pytest.raises(RateLimited):
        patience.pause(RateLimited("busy", retry_after=7))


def test_what_may_have_been_done_is_not_done_again() -> None:
    patience = Backoff(30, begun=True)
    with pytest.raises(Unavailable):
        patience.pause(Unavailable("away"), repeatable=False)
    assert patience.pause(RateLimited("busy"), repeatable=False) > 0
    with pytest.raises(NotFound):
        patience.pause(NotFound("gone"))


def test_a_second_start_would_be_a_second_jupyter() -> None:
    assert not rpcs.start_jupyter("a", {}).repeatable
    assert rpcs.stop_jupyter("a").repeatable


def test_a_snapshot_that_is_cut_short_is_told_anew_after_a_resync() -> None:
    """Else a task of the first one that ended in between would live on for the reader."""
    cursor = WatchCursor({})
    cursor.rpc()
    one = Update(type=Update.snapshot, seq=7, task=Task(id="a"))
    assert cursor.receive(one) == [one]
    request = cursor.rpc().request
    assert isinstance(request, WatchTasksRequest)
    assert not request.HasField("since_seq")
    synced = Update(type=Update.synced, seq=9)
    assert cursor.receive(synced) == [Update(type=Update.resync, seq=7), synced]
    request = cursor.rpc().request
    assert isinstance(request, WatchTasksRequest)
    assert request.since_seq == 9


def test_a_log_goes_on_to_the_next_attempt() -> None:
    cursor = LogCursor("t", None, 0, follow=True)
    cursor.advance(TaskLogChunk(attempt=1, offset=0, data=b"abc"))
    assert not cursor.is_over(Task(status=Task.running, attempt=2))
    assert "attempt: 2" in str(cursor.rpc().request)
    assert cursor.is_over(Task(status=Task.failed, attempt=2))
    only = LogCursor("t", 1, 0, follow=True)
    assert only.is_over(Task(status=Task.running, attempt=2))


class Old(task_pb2_grpc.TaskServiceServicer):
    """Sends no metadata ahead of the first message, and is cut off after each."""

    def WatchTasks(self, request: Any, context: Any) -> Iterator[Update]:  # noqa: N802
        yield Update(type=Update.task_update, seq=request.since_seq + 1)
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def serving(servicer: task_pb2_grpc.TaskServiceServicer) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    task_pb2_grpc.add_TaskServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def old() -> Iterator[str]:
    yield from serving(Old())


def test_streams_of_an_older_server_are_resumed(old: str) -> None:
    with Client(old, "") as client, closing(client.watch(since_seq=0)) as updates:
        assert [next(updates).seq for _ in range(3)] == [1, 2, 3]


async def test_streams_of_an_older_server_are_resumed_in_a_loop(old: str) -> None:
    async with AsyncClient(old, "") as client, aclosing(client.watch(since_seq=0)) as updates:
        assert [(await anext(updates)).seq for _ in range(3)] == [1, 2, 3]


class Stopping(task_pb2_grpc.TaskServiceServicer):
    """Ends its logs in good order, as a server that stops does, and is away for a while."""

    def __init__(self) -> None:
        self.back_at = time.monotonic() + 1

    def StreamTaskLogs(self, request: Any, context: Any) -> Iterator[TaskLogChunk]:  # noqa: N802
        yield from ()

    def GetTask(self, request: Any, context: Any) -> Task:  # noqa: N802
        if time.monotonic() < self.back_at:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return Task(status=Task.completed)


@pytest.fixture
def stopping() -> Iterator[str]:
    yield from serving(Stopping())


def test_a_log_whose_server_is_away_for_longer_than_a_call_may_take(stopping: str) -> None:
    with Client(stopping, "", options=Options(deadline=0.2)) as client:
        assert not list(client.logs("a", follow=True))


async def test_the_same_in_a_loop(stopping: str) -> None:
    async with AsyncClient(stopping, "", options=Options(deadline=0.2)) as client:
        assert not [chunk async for chunk in client.logs("a", follow=True)]


class Forgetful(task_pb2_grpc.TaskServiceServicer):
    """Deletes, and is gone before it answers."""

    def __init__(self) -> None:
        self.calls = 0

    def DeleteTask(self, request: Any, context: Any) -> Any:  # noqa: N802  # the RPC's name
        self.calls += 1
        if self.calls == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        context.abort(grpc.StatusCode.NOT_FOUND, "There is no such task")


@pytest.fixture
def forgetful() -> Iterator[str]:
    yield from serving(Forgetful())


def test_a_repeated_delete_that_finds_nothing_is_done(forgetful: str) -> None:
    cuts: list[CallError] = []
    with Client(forgetful, "") as client:
        client.with_options(on_cut=cuts.append).delete("a")
        assert len(cuts) == 1
        with pytest.raises(NotFound, match="no such task"):
            client.delete("a")
