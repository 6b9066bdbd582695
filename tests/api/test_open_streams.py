"""What one caller holds open leaves room for the others, whether it shows a key or not."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from fetchml.api import grpc_calls, grpc_server
from fetchml.core.model import Role
from fetchml.v1 import key_pb2, queue_pb2, task_pb2
from tests.api.grpc_world import World, grpc_world, refusal
from tests.api.rest_world import rest_world

LIMIT = 3
CALLS = 10
"""That the server takes at a time, from all together."""
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(grpc_server, "MAX_CALLS", CALLS)
    async with grpc_world(tmp_path, streams_per_key=LIMIT, streams_per_address=LIMIT) as world:
        yield world


async def status(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    return error.value.code()


def begun(world: World, method: str, metadata: Any = None) -> Any:
    """A call whose message does not come."""
    return world.client.channel.stream_stream(method)(timeout=10, metadata=metadata)


async def assert_served(world: World) -> None:
    request = queue_pb2.GetQueueRequest()
    await world.client.queue.GetQueue(request, metadata=world.client.metadata, timeout=10)


async def test_calls_without_a_key_end_before_their_message_comes(world: World) -> None:
    for method in ("CreateTask", "CreateTasks", "WatchTasks"):
        calls = [begun(world, f"/fetchml.v1.TaskService/{method}") for _ in range(CALLS + 1)]
        assert {await status(call) for call in calls} <= {UNAUTHENTICATED, EXHAUSTED}
    await assert_served(world)


QUICK = 2
CALLS_OF_A_KEY = ["QueueService/GetQueue", "TaskService/WatchTasks"]


@pytest.mark.parametrize("name", CALLS_OF_A_KEY)
async def test_a_key_holds_so_many_calls_that_never_begin(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(grpc_calls, "QUICK_CALLS", QUICK)
    own = world.client.metadata
    held = [begun(world, f"/fetchml.v1.{name}", own) for _ in range(QUICK + LIMIT)]
    for call in held:
        await call.wait_for_connection()
    more = [begun(world, f"/fetchml.v1.{name}", own) for _ in range(CALLS)]
    assert [await status(call) for call in more] == CALLS * [EXHAUSTED]
    request = queue_pb2.GetQueueRequest()
    for role in (Role.VIEWER, Role.ADMIN):
        metadata = (("x-api-key", world.secrets[role]),)
        await world.client.queue.GetQueue(request, metadata=metadata, timeout=10)
    for call in held:
        call.cancel()
    await assert_served_again(world)


async def assert_served_again(world: World) -> None:
    """Once what was cancelled is counted no more."""
    for _ in range(100):
        try:
            await assert_served(world)
        except grpc.aio.AioRpcError as error:
            assert error.code() is EXHAUSTED  # noqa: PT017
        else:
            return
    raise AssertionError("a call that was cancelled is still counted")


@pytest.mark.parametrize("name", CALLS_OF_A_KEY)
async def test_a_message_that_does_not_come(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(grpc_calls, "QUICK_CALLS", 0)
    monkeypatch.setattr(grpc_calls, "MESSAGE_SECONDS", 0.1)
    call = begun(world, f"/fetchml.v1.{name}", world.client.metadata)
    assert await status(call) is grpc.StatusCode.INVALID_ARGUMENT
    assert await call.details() == "The call's message did not come within 0.1 s"
    call = begun(world, f"/fetchml.v1.{name}", world.client.metadata)
    await call.done_writing()
    assert await status(call) is grpc.StatusCode.INVALID_ARGUMENT
    assert await call.details() == "The call ended without a message"


async def test_the_owner_gets_in_whatever_others_hold_open(world: World) -> None:
    method = "/fetchml.v1.QueueService/GetQueue"
    held = [begun(world, method, world.client.metadata) for _ in range(CALLS)]
    for call in held:
        await call.wait_for_connection()
    with pytest.raises(grpc.aio.AioRpcError, match="limit exceeded"):
        await assert_served(world)
    async with world.connect(None, local=True) as owner:
        keys = await owner.keys.ListKeys(key_pb2.ListKeysRequest(), timeout=10)
    assert len(keys.keys) == len(Role)
    for call in held:
        call.cancel()
    await assert_served_again(world)


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_health_calls_that_never_begin_are_limited_by_address(
    world: World, method: str
) -> None:
    held = [begun(world, f"/grpc.health.v1.Health/{method}") for _ in range(LIMIT)]
    for call in held:
        await call.wait_for_connection()
    more = [begun(world, f"/grpc.health.v1.Health/{method}") for _ in range(CALLS)]
    assert [await status(call) for call in more] == CALLS * [EXHAUSTED]
    await assert_served(world)
    held.pop().cancel()
    await assert_health(world)


async def assert_health(world: World) -> None:
    """Once what was cancelled is counted no more."""
    stub: Any = health_pb2_grpc.HealthStub(world.client.channel)
    for _ in range(100):
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        except grpc.aio.AioRpcError as error:
            assert error.code() is EXHAUSTED  # noqa: PT017
        else:
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            return
    raise AssertionError("a call that was cancelled is still counted")


async def test_open_health_and_reflection_streams_are_counted_together(world: World) -> None:
    health: Any = health_pb2_grpc.HealthStub(world.client.channel)
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(world.client.channel)
    held = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(LIMIT)]
    for call in held:
        await call.read()
    refused = reflection.ServerReflectionInfo()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await refused.read()
    said = refusal(error.value)
    assert (said.code, said.reason) == (EXHAUSTED, "RATE_LIMITED")
    assert said.message == "More than 3 streams open at once: close some"
    for call in held:
        call.cancel()


async def test_a_key_holds_so_many_streams_and_no_more(world: World) -> None:
    def watch(metadata: Any) -> Any:
        request = task_pb2.WatchTasksRequest()
        return world.client.tasks.WatchTasks(request, metadata=metadata, timeout=10)

    held = [watch(world.client.metadata) for _ in range(LIMIT)]
    for call in held:
        await call.read()
    assert await status(watch(world.client.metadata)) is EXHAUSTED
    others = watch((("x-api-key", world.secrets[Role.VIEWER]),))
    assert (await others.read()).type == task_pb2.WatchTasksResponse.synced
    await assert_served(world)
    for call in (*held, others):
        call.cancel()


async def test_a_key_holds_so_many_streams_over_http() -> None:
    async with rest_world(streams_per_key=LIMIT) as world, AsyncExitStack() as stack:
        client = world.client
        headers = client.with_key({})

        def connect() -> Any:
            return client.session.ws_connect(client.url("/ws"), headers=headers)

        for _ in range(LIMIT):
            await stack.enter_async_context(connect())
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await connect()
        assert refused.value.status == 429
        assert refused.value.headers is not None
        assert int(refused.value.headers["Retry-After"]) > 0
        task_id = (await client.submit({"job_name": "a"})).json["id"]
        reply = await client.ask("GET", f"/v1/tasks/{task_id}/logs?follow=1")
        assert (reply.status, reply.code) == (429, "RATE_LIMITED")
        assert reply.error == "More than 3 streams open at once: close some"
        assert (await client.ask("GET", "/v1/queue")).status == 200
