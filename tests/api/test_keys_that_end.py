"""A revoked or expired key ends its own open streams over every transport, and no others."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import pytest

from fetchml.auth.keyring import Keyring
from fetchml.core.model import Role
from fetchml.v1 import task_pb2
from tests.support import grpc_world
from tests.support.rest_world import World
from tests.support.waiting import SECONDS


async def new_key(keyring: Keyring, end: str) -> tuple[str, str]:
    """Return the id and the secret of a key that is about to end."""
    expires_at = time.time_ns() // 1_000_000 + 300 if end == "expire" else None
    key, secret = await keyring.create("ada", Role.USER, expires_at)
    return key.id, secret


async def end_key(keyring: Keyring, key_id: str, end: str) -> str:
    """Revoke the key or wait for its expiry. Returns the message that its holder receives."""
    if end == "expire":
        return "The key has expired"
    await keyring.revoke(key_id)
    return "The key was revoked"


@pytest.fixture(params=["revoke", "expire"])
def end(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_ws_watch_ends_with_its_key(rest: World, end: str) -> None:
    url = rest.client.url("/ws")
    key_id, secret = await new_key(rest.keyring, end)
    async with (
        rest.client.session.ws_connect(url, headers=rest.client.with_key({})) as other,
        rest.client.session.ws_connect(url, headers=rest.as_(secret).with_key({})) as socket,
    ):
        reason = await end_key(rest.keyring, key_id, end)
        message = await socket.receive(timeout=SECONDS)
        assert (message.type, message.data, message.extra) == (
            aiohttp.WSMsgType.CLOSE,
            1008,
            reason,
        )
        await rest.new_task()
        assert (await other.receive_json(timeout=SECONDS))["type"] == "task_update"
    assert (await rest.as_(secret).get("/v1/queue")).status == 401


async def test_followed_log_ends_with_its_key(rest: World, end: str) -> None:
    task_id = await rest.new_task()
    key_id, secret = await new_key(rest.keyring, end)
    async with rest.as_(secret).open(f"/v1/tasks/{task_id}/logs?follow=1") as response:
        await rest.engine.log(task_id, b"one\n")
        assert await response.content.readexactly(4) == b"one\n"
        await end_key(rest.keyring, key_id, end)
        # The reply breaks off, so that it does not look complete.
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(response.content.read(), SECONDS)
    await rest.engine.until(lambda: rest.engine.open_streams == 0)


async def test_download_ends_with_its_key(rest: World) -> None:
    task_id = await rest.new_task()
    rest.engine.outputs(task_id, {"model": bytes(64 << 20)})
    key_id, secret = await new_key(rest.keyring, "revoke")
    async with rest.as_(secret).open(f"/v1/tasks/{task_id}/outputs/model") as response:
        await response.content.readexactly(1)
        await end_key(rest.keyring, key_id, "revoke")
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(response.content.read(), SECONDS)


@contextlib.asynccontextmanager
async def over_grpc(
    folder: Path, end: str
) -> AsyncIterator[tuple[grpc_world.World, grpc_world.Client, str]]:
    async with grpc_world.grpc_world(folder) as world:
        key_id, secret = await new_key(world.keyring, end)
        async with world.connect(secret) as client:
            yield world, client, key_id


async def test_grpc_watch_ends_with_its_key(tmp_path: Path, end: str) -> None:
    async with over_grpc(tmp_path, end) as (world, client, key_id):
        request = task_pb2.WatchTasksRequest()
        call = client.tasks.WatchTasks(request, timeout=SECONDS)
        other = world.client.tasks.WatchTasks(request, timeout=SECONDS)
        for stream in (call, other):
            assert (await stream.read()).type == task_pb2.WatchTasksResponse.synced
        reason = await end_key(world.keyring, key_id, end)
        failed = await grpc_world.failed_call(call.read())
        assert (failed.code, failed.message, failed.reason) == (
            grpc.StatusCode.UNAUTHENTICATED,
            reason,
            "UNAUTHORIZED",
        )
        await world.client.tasks.CreateTask(task_pb2.CreateTaskRequest(job_name="a"))
        assert (await other.read()).type == task_pb2.WatchTasksResponse.task_update
        other.cancel()


async def test_create_stream_ends_with_its_key(tmp_path: Path) -> None:
    async with over_grpc(tmp_path, "revoke") as (world, client, key_id):
        call = client.tasks.CreateTasks(timeout=SECONDS)
        batch = task_pb2.CreateTasksRequest(tasks=[task_pb2.CreateTaskRequest(job_name="a")])
        await call.write(batch)
        await world.engine.until(lambda: len(world.engine.tasks) == 1)
        await end_key(world.keyring, key_id, "revoke")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
