"""Watches and logs over gRPC: their messages, and that every ending frees their resources."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from fetchml.core.model import Status
from fetchml.v1 import task_pb2
from tests.support.front import EDGE
from tests.support.grpc_world import World, failed_call, refusal
from tests.support.waiting import SECONDS


async def create(world: World, name: str = "digits") -> str:
    request = task_pb2.CreateTaskRequest(job_name=name)
    task = await world.client.tasks.CreateTask(request)
    return str(task.id)


def watch(world: World, timeout: float | None = 10, **fields: Any) -> Any:
    request = task_pb2.WatchTasksRequest(**fields)
    return world.client.tasks.WatchTasks(request, timeout=timeout)


def logs(world: World, task_id: str, **fields: Any) -> Any:
    request = task_pb2.StreamTaskLogsRequest(task_id=task_id, **fields)
    return world.client.tasks.StreamTaskLogs(request, timeout=SECONDS)


async def drained(stream: Any) -> None:
    """Read to the end: a stream's status follows its last message."""
    while await stream.read() is not grpc.aio.EOF:
        pass


def summary(update: task_pb2.WatchTasksResponse) -> tuple[str, str, str]:
    kind = task_pb2.WatchTasksResponse.Type.Name(update.type)
    return kind, update.task.id, task_pb2.Task.Status.Name(update.task.status)


@pytest.mark.fronts(EDGE)
async def test_watch_sends_a_snapshot_and_then_every_change(world: World) -> None:
    first = await create(world)
    call = watch(world)
    assert summary(await call.read()) == ("snapshot", first, "queued")
    synced = await call.read()
    assert synced.type == task_pb2.WatchTasksResponse.synced
    assert not synced.HasField("task")
    await world.engine.change(first, status=Status.RUNNING)
    second = await create(world)
    assert summary(await call.read()) == ("task_update", first, "running")
    assert summary(await call.read()) == ("task_update", second, "queued")
    call.cancel()


async def test_quiet_stream_sends_initial_metadata(world: World) -> None:
    """Before any message, so that a client can distinguish it from a stream that hangs."""
    task_id = await create(world)
    for call in (watch(world, since_seq=1), logs(world, task_id, follow=True)):
        assert len(dict(await call.initial_metadata())["x-trace-id"]) == 36
        call.cancel()


async def test_rejected_stream_sends_no_initial_metadata(world: World) -> None:
    for call in (watch(world, since_seq=-1), logs(world, "nothing", follow=True)):
        assert "x-trace-id" not in dict(await call.initial_metadata())
        refused = await failed_call(call.read())
        assert refused.reason in {"BAD_REQUEST", "NOT_FOUND"}


async def test_stream_that_fails_later_has_error_details(world: World) -> None:
    call = watch(world, since_seq=0)
    trace_id = dict(await call.initial_metadata())["x-trace-id"]
    await world.engine.drain()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    assert refusal(error.value).reason == "SERVICE_UNAVAILABLE"
    assert dict(error.value.trailing_metadata())["x-trace-id"] == trace_id


async def test_logs_follow_until_the_end(world: World) -> None:
    task_id = await create(world)
    await world.engine.log(task_id, b"one\n")
    call = logs(world, task_id, follow=True, offset=1)
    first = await call.read()
    assert (first.attempt, first.offset, first.data) == (1, 1, b"ne\n")
    await world.engine.log(task_id, b"\xff\x00")
    assert (await call.read()).data == b"\xff\x00"
    await world.engine.change(task_id, status=Status.COMPLETED)
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.fronts(EDGE)
async def test_cancelling_client_frees_its_streams(world: World) -> None:
    task_id = await create(world)
    await world.engine.log(task_id, b"x")
    calls = (watch(world), logs(world, task_id, follow=True))
    for call in calls:
        await call.read()
    assert world.engine.open_streams == 2
    for call in calls:
        call.cancel()
    await world.engine.until(lambda: world.engine.open_streams == 0)


@pytest.mark.fronts(EDGE)
async def test_deadline_frees_the_stream(world: World) -> None:
    await create(world)
    call = watch(world, timeout=0.3)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await drained(call)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await world.engine.until(lambda: world.engine.open_streams == 0)


async def test_slow_readers_stop_nobody_else(world: World) -> None:
    task_id = await create(world)
    chunk = b"x" * 100_000
    for _ in range(300):
        await world.engine.log(task_id, chunk)
    # Several: a proxy's clients share its connection to the server, and so that one's window.
    slow = [logs(world, task_id, follow=True) for _ in range(5)]
    for reader in slow:
        await reader.read()
    fast = logs(world, task_id)
    received = 0
    async for piece in fast:
        received += len(piece.data)
    assert received == 300 * len(chunk)
    assert world.engine.open_streams == len(slow)
    for reader in slow:
        reader.cancel()
    await world.engine.until(lambda: world.engine.open_streams == 0)


@pytest.mark.fronts(EDGE)
async def test_shutdown_ends_every_stream_with_a_reason(world: World) -> None:
    task_id = await create(world)
    await world.engine.log(task_id, b"x")
    received = asyncio.Event()

    async def unending() -> AsyncIterator[task_pb2.CreateTasksRequest]:
        yield task_pb2.CreateTasksRequest(tasks=[task_pb2.CreateTaskRequest(job_name="one")])
        received.set()
        await asyncio.Event().wait()

    streams = [watch(world), logs(world, task_id, follow=True)]
    for stream in streams:
        await stream.read()
    upload = world.client.tasks.CreateTasks(unending())
    await received.wait()
    await world.engine.until(lambda: len(world.engine.tasks) == 2)
    await world.server.stop(5)
    for end in (*(drained(stream) for stream in streams), upload):
        seen = await failed_call(end)
        assert seen.code is grpc.StatusCode.UNAVAILABLE
        assert seen.message == "The server is shutting down: call again when it is back"
    assert world.engine.open_streams == 0
