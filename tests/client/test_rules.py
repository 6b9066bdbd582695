"""The client's rules for retries and resumed streams, without a FetchML server."""

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from fetchml.client import (
    CallError,
    Client,
    CreateTaskRequest,
    NotFound,
    Options,
    RateLimited,
    Unavailable,
    WatchTasksResponse,
)
from fetchml.client.cursors import LogCursor, WatchCursor
from fetchml.client.rpc import Backoff
from fetchml.v1 import task_pb2_grpc
from fetchml.v1.task_pb2 import Task, TaskLogChunk, WatchTasksRequest

Update = WatchTasksResponse


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_backoff_starts_with_the_first_failure(clock: list[float]) -> None:
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


def test_no_pause_exceeds_the_deadline(clock: list[float]) -> None:
    patience = Backoff(30, begun=True)
    assert patience.pause(RateLimited("busy", retry_after=7)) == 7
    clock[0] = 25
    assert patience.remaining() == 5
    with pytest.raises(RateLimited):
        patience.pause(RateLimited("busy", retry_after=7))


def test_a_call_that_is_not_repeatable_is_retried_only_when_rejected() -> None:
    patience = Backoff(30, begun=True)
    with pytest.raises(Unavailable):
        patience.pause(Unavailable("away"), repeatable=False)
    assert patience.pause(RateLimited("busy"), repeatable=False) > 0
    with pytest.raises(NotFound):
        patience.pause(NotFound("gone"))


def test_an_interrupted_snapshot_starts_over_after_a_resync() -> None:
    """A task of the first snapshot may have ended before the second one."""
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


def test_states_of_a_filter_may_be_an_iterator() -> None:
    cursor = WatchCursor({"states": iter(["running"])})
    first = cursor.rpc().request
    assert isinstance(first, WatchTasksRequest)
    assert first.states == [Task.running]
    assert cursor.rpc().request == first


def test_a_followed_log_continues_with_the_next_attempt() -> None:
    cursor = LogCursor("t", None, 0, follow=True)
    cursor.advance(TaskLogChunk(attempt=1, offset=0, data=b"abc"))
    assert not cursor.is_over(Task(status=Task.running, attempt=2))
    assert "attempt: 2" in str(cursor.rpc().request)
    assert cursor.is_over(Task(status=Task.failed, attempt=2))
    only = LogCursor("t", 1, 0, follow=True)
    assert only.is_over(Task(status=Task.running, attempt=2))


class Old(task_pb2_grpc.TaskServiceServicer):
    """Sends no metadata before the first message, and drops the connection after each."""

    def WatchTasks(self, request: Any, context: Any) -> Iterator[Update]:  # noqa: N802
        yield Update(type=Update.task_update, seq=request.since_seq + 1)
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


@contextmanager
def serving(servicer: task_pb2_grpc.TaskServiceServicer | grpc.GenericRpcHandler) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    if isinstance(servicer, grpc.GenericRpcHandler):
        server.add_generic_rpc_handlers((servicer,))
    else:
        task_pb2_grpc.add_TaskServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_streams_of_an_older_server_are_resumed() -> None:
    with (
        serving(Old()) as old,
        Client(old, "") as client,
        closing(client.watch(since_seq=0)) as updates,
    ):
        assert [next(updates).seq for _ in range(3)] == [1, 2, 3]


class Stopping(task_pb2_grpc.TaskServiceServicer):
    """Ends its logs normally, as a stopping server does, then is unavailable for a second."""

    def __init__(self) -> None:
        self.back_at = time.monotonic() + 1

    def StreamTaskLogs(self, request: Any, context: Any) -> Iterator[TaskLogChunk]:  # noqa: N802
        yield from ()

    def GetTask(self, request: Any, context: Any) -> Task:  # noqa: N802
        if time.monotonic() < self.back_at:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return Task(status=Task.completed)


def test_a_log_outlasts_an_outage_longer_than_the_deadline() -> None:
    options = Options(deadline=0.2)
    with serving(Stopping()) as stopping, Client(stopping, "", options=options) as client:
        assert not list(client.logs("a", follow=True))


class Dropping(grpc.GenericRpcHandler):
    """Drops the connection of every call before it replies."""

    def __init__(self) -> None:
        self.calls = 0

    def service(self, _: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._drop)

    def _drop(self, _: bytes, context: Any) -> None:
        self.calls += 1
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


@pytest.mark.parametrize(
    ("is_repeated", "call"),
    [
        (False, lambda client: client.interrupt("a")),
        (False, lambda client: client.exec("a", ["true"])),
        (False, lambda client: client.reserve("ada", until=datetime.now(UTC))),
        (False, lambda client: client.create_experiment("a")),
        (False, lambda client: client.start_jupyter("a")),
        (False, lambda client: client.replace_webhook_secrets()),
        (False, lambda client: client.test_notification("https://hooks.example.com/a")),
        (True, lambda client: client.submit("a")),
        (True, lambda client: client.retry("a")),
        (True, lambda client: client.create_sweep(CreateTaskRequest(), {"lr": [1]})),
        (True, lambda client: client.stop_jupyter("a")),
    ],
)
def test_a_call_is_repeated_unless_it_could_act_twice(
    is_repeated: bool, call: Callable[[Client], object]
) -> None:
    dropping = Dropping()
    with (
        serving(dropping) as address,
        Client(address, "", options=Options(deadline=0.5)) as client,
        pytest.raises(Unavailable),
    ):
        call(client)
    assert (dropping.calls > 1) == is_repeated, dropping.calls


class Forgetful(task_pb2_grpc.TaskServiceServicer):
    """Deletes, but drops the connection before it replies."""

    def __init__(self) -> None:
        self.calls = 0

    def DeleteTask(self, request: Any, context: Any) -> Any:  # noqa: N802  # the RPC's name
        self.calls += 1
        if self.calls == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        context.abort(grpc.StatusCode.NOT_FOUND, "There is no such task")


def test_a_retried_delete_that_finds_nothing_succeeds() -> None:
    cuts: list[CallError] = []
    with serving(Forgetful()) as forgetful, Client(forgetful, "") as client:
        client.with_options(on_cut=cuts.append).delete("a")
        assert len(cuts) == 1
        with pytest.raises(NotFound, match="no such task"):
            client.delete("a")
