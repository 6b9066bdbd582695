"""Limits on open calls and streams, by key and by address, leave capacity for other callers."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from fetchml.api.grpc import handler, receiving, server
from fetchml.auth import admission
from fetchml.config.proxies import Network, Proxies
from fetchml.core.model import Role
from fetchml.v1 import key_pb2, queue_pb2, task_pb2
from tests.support.front import EDGE
from tests.support.grpc_world import World, failed_call, grpc_world
from tests.support.rest_world import rest_world
from tests.support.waiting import SECONDS, until

LIMIT = 3
CALLS = 10
"""Concurrent calls that the server accepts from all callers together."""
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(server, "MAX_CALLS", CALLS)
    async with grpc_world(
        tmp_path, streams_per_key=LIMIT, streams_per_address=LIMIT, calls_per_address=LIMIT
    ) as world:
        yield world


async def status(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    return error.value.code()


def begun(world: World, method: str, metadata: Any = None) -> Any:
    """Start a call that sends no message."""
    return world.client.channel.stream_stream(method)(timeout=SECONDS, metadata=metadata)


async def assert_served(world: World) -> None:
    request = queue_pb2.GetQueueRequest()
    await world.client.queue.GetQueue(request, timeout=SECONDS)


async def test_call_without_a_key_ends_before_its_message(world: World) -> None:
    for method in ("CreateTask", "CreateTasks", "WatchTasks"):
        calls = [begun(world, f"/fetchml.v1.TaskService/{method}") for _ in range(CALLS + 1)]
        assert {await status(call) for call in calls} <= {UNAUTHENTICATED, EXHAUSTED}
    await assert_served_again(world)


PLACES = 2
CALLS_OF_A_KEY = [
    "QueueService/GetQueue",
    "TaskService/WatchTasks",
]


@pytest.fixture
async def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A server with few places for calls that wait for their messages."""
    monkeypatch.setattr(handler, "PLACES_BY_KEY", PLACES)
    async with grpc_world(tmp_path, streams_per_key=LIMIT, streams_per_address=LIMIT) as world:
        yield world


async def test_calls_without_a_message_are_limited_by_key(narrow: World) -> None:
    own = narrow.client.metadata
    name = "/fetchml.v1.QueueService/GetQueue"
    held = [begun(narrow, name, own) for _ in range(PLACES + LIMIT + CALLS)]
    reads = [asyncio.create_task(status(call)) for call in held]
    refused = [await each for each in itertools.islice(asyncio.as_completed(reads), CALLS)]
    assert refused == CALLS * [EXHAUSTED]
    request = queue_pb2.GetQueueRequest()
    for role in (Role.VIEWER, Role.ADMIN):
        metadata = (("x-api-key", narrow.secrets[role]),)
        await narrow.client.queue.GetQueue(request, metadata=metadata, timeout=SECONDS)
    for call in held:
        call.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
    await assert_served_again(narrow)


async def test_waiting_streams_are_limited_by_key(narrow: World) -> None:
    own = narrow.client.metadata
    held = [begun(narrow, "/fetchml.v1.TaskService/WatchTasks", own) for _ in range(LIMIT)]
    for call in held:
        await call.wait_for_connection()
    more = begun(narrow, "/fetchml.v1.TaskService/WatchTasks", own)
    assert await status(more) is EXHAUSTED
    for call in held:
        call.cancel()
    await assert_served_again(narrow)


async def test_slow_messages_yield_to_waiting_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "PLACES", PLACES)
    monkeypatch.setattr(receiving, "LEAST_SECONDS", 0)
    monkeypatch.setattr(receiving, "SWEEP_SECONDS", 0.01)
    async with grpc_world(tmp_path) as world:
        name = "/fetchml.v1.QueueService/GetQueue"
        slow = [begun(world, name, world.client.metadata) for _ in range(PLACES)]
        for call in slow:
            await call.wait_for_connection()
        metadata = (("x-api-key", world.secrets[Role.VIEWER]),)
        await world.client.queue.GetQueue(
            queue_pb2.GetQueueRequest(), metadata=metadata, timeout=SECONDS
        )
        reads = [asyncio.create_task(status(call)) for call in slow]
        assert await next(asyncio.as_completed(reads)) is EXHAUSTED
        details = [await call.details() for call in slow if call.done()]
        assert "send it at once" in details[0]
        for call in slow:
            call.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def test_call_fails_if_its_key_ends_before_the_message(world: World) -> None:
    call = begun(world, "/fetchml.v1.QueueService/GetQueue", world.client.metadata)
    await call.wait_for_connection()
    keys = await world.client.keys.ListKeys(
        key_pb2.ListKeysRequest(), metadata=(("x-api-key", world.secrets[Role.ADMIN]),)
    )
    mine = next(key.id for key in keys.keys if key.role == key_pb2.Key.user)
    await world.client.keys.RevokeKey(
        key_pb2.RevokeKeyRequest(key_id=mine),
        metadata=(("x-api-key", world.secrets[Role.ADMIN]),),
    )
    await call.write(b"")
    assert await status(call) is UNAUTHENTICATED


async def test_keyless_calls_leave_capacity_for_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "KEYLESS_STREAMS", CALLS)
    monkeypatch.setattr(server, "MAX_CALLS", 2 * CALLS)
    proxies = Proxies([Network.parse("127.0.0.0/8")])
    async with grpc_world(tmp_path, streams_per_address=1, proxies=proxies) as world:
        method = "/grpc.health.v1.Health/Watch"
        held = [
            begun(world, method, (("x-forwarded-for", f"192.0.2.{n}"),)) for n in range(3 * CALLS)
        ]
        reads = [asyncio.create_task(status(call)) for call in held]
        refused = [await each for each in itertools.islice(asyncio.as_completed(reads), 2 * CALLS)]
        assert set(refused) <= {grpc.StatusCode.UNAVAILABLE, EXHAUSTED}
        await assert_served(world)
        for call in held:
            call.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def assert_served_again(world: World) -> None:
    """Wait until calls that have ended are no longer counted."""
    await until(lambda: has_place(assert_served(world)))


async def has_place(call: Awaitable[None]) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        assert error.code() is EXHAUSTED  # noqa: PT017
        return False
    return True


@pytest.mark.slow
@pytest.mark.fronts(EDGE)
@pytest.mark.parametrize("name", CALLS_OF_A_KEY)
async def test_missing_message_times_out(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(receiving, "MESSAGE_SECONDS", 0.1)
    call = begun(world, f"/fetchml.v1.{name}", world.client.metadata)
    assert await status(call) is grpc.StatusCode.INVALID_ARGUMENT
    assert await call.details() == "The call timed out after 0.1 s: no message received"
    monkeypatch.setattr(receiving, "MESSAGE_SECONDS", SECONDS)
    call = begun(world, f"/fetchml.v1.{name}", world.client.metadata)
    await call.done_writing()
    assert await status(call) is grpc.StatusCode.INVALID_ARGUMENT
    assert await call.details() == "The call ended without a message"


async def test_control_socket_is_not_blocked_by_open_calls(world: World) -> None:
    method = "/fetchml.v1.QueueService/GetQueue"
    held = [begun(world, method, world.client.metadata) for _ in range(CALLS)]
    for call in held:
        await call.wait_for_connection()
    with pytest.raises(grpc.aio.AioRpcError, match="limit exceeded"):
        await assert_served(world)
    async with world.connect(None, local=True) as owner:
        keys = await owner.keys.ListKeys(key_pb2.ListKeysRequest(), timeout=SECONDS)
    assert len(keys.keys) == len(Role)
    for call in held:
        call.cancel()
    await assert_served_again(world)


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_health_calls_without_a_message_are_limited_by_address(
    world: World, method: str
) -> None:
    held = [begun(world, f"/grpc.health.v1.Health/{method}") for _ in range(LIMIT)]
    for call in held:
        await call.wait_for_connection()
    more = [begun(world, f"/grpc.health.v1.Health/{method}") for _ in range(CALLS)]
    assert [await status(call) for call in more] == CALLS * [EXHAUSTED]
    await assert_served_again(world)
    held.pop().cancel()
    await until(lambda: has_place(assert_health(world)))


async def assert_health(world: World) -> None:
    stub: Any = health_pb2_grpc.HealthStub(world.client.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_and_reflection_streams_share_a_limit(world: World) -> None:
    health: Any = health_pb2_grpc.HealthStub(world.client.channel)
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(world.client.channel)
    held = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(LIMIT)]
    for call in held:
        await call.read()
    refused = reflection.ServerReflectionInfo()
    refused = await failed_call(refused.read())
    assert (refused.code, refused.reason) == (EXHAUSTED, "RATE_LIMITED")
    assert refused.message == "Limit of 3 open streams reached: close some"
    for call in held:
        call.cancel()


async def test_streams_are_limited_by_key_over_grpc(world: World) -> None:
    def watch(metadata: Any) -> Any:
        request = task_pb2.WatchTasksRequest()
        return world.client.tasks.WatchTasks(request, metadata=metadata, timeout=SECONDS)

    held = [watch(world.client.metadata) for _ in range(LIMIT)]
    for call in held:
        await call.read()
    assert await status(watch(world.client.metadata)) is EXHAUSTED
    others = watch((("x-api-key", world.secrets[Role.VIEWER]),))
    assert (await others.read()).type == task_pb2.WatchTasksResponse.synced
    await assert_served(world)
    for call in (*held, others):
        call.cancel()


@pytest.mark.fronts(EDGE)
async def test_streams_are_limited_by_key_over_http() -> None:
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
        assert reply.error == "Limit of 3 open streams reached: close some"
        assert (await client.ask("GET", "/v1/queue")).status == 200
