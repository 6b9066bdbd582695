"""Limits that protect other users from one user, one task or one flood."""

import gc
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf.message import Message

from fetchml.core.model import Role
from fetchml.v1 import task_pb2
from fetchml.v1.task_pb2_grpc import TaskServiceStub
from tests.support import grpc_world
from tests.support.grpc_world import Refusal, failed_call
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.waiting import eventually, soon

Code = grpc.StatusCode
MIB = 1 << 20
UNTIL_TOLD = "until [ -e go ]; do sleep 0.02; done; "
STREAMS = 50


async def refused(call: Awaitable[Any]) -> Refusal:
    return await failed_call(soon(call))


def rpc(client: grpc_world.Client, method: str, request: Message) -> Awaitable[Any]:
    called: Awaitable[Any] = getattr(client.tasks, method)(request)
    return called


CREATE = task_pb2.CreateTaskRequest(job_name="a", command=["true"])


async def test_key_rate_limit_spans_both_transports(
    serve: Serve, processes_backend: Backend
) -> None:
    limit = {"FETCHML_RATE_LIMIT_PER_SECOND": "1", "FETCHML_RATE_LIMIT_BURST": "8"}
    server = await serve(processes_backend, FETCHML_RATE_LIMIT_ENABLED="true", **limit).start()
    rest, client = await server.clients(await server.key("ann", Role.USER))
    allowed = 0
    reply = await rest.get("/v1/queue")
    while reply.status == 200:
        assert reply.headers["RateLimit-Limit"] == "8"
        await rpc(client, "ListTasks", task_pb2.ListTasksRequest(limit=0))
        allowed += 2
        assert allowed < 20
        reply = await rest.get("/v1/queue")
    assert allowed >= 8
    assert (reply.status, reply.code) == (429, "RATE_LIMITED")
    assert int(reply.headers["Retry-After"]) >= 1
    seen = await refused(rpc(client, "CreateTask", CREATE))
    assert (seen.code, seen.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert (seen.retry_seconds or 0) >= 1
    assert (await rest.submit()).status == 429
    for _ in range(20):
        assert (await rest.get("/health")).status == 200
    bob, _ = await server.clients(await server.key("bob", Role.USER))
    assert (await bob.get("/v1/tasks")).json["total"] == 0


async def test_wrong_keys_are_rejected_and_limited(
    serve: Serve, processes_backend: Backend
) -> None:
    server = await serve(processes_backend, FETCHML_RATE_LIMIT_ENABLED="true").start()
    right = await server.key("ann", Role.USER)
    for wrong in (None, "x", right[:-1], right + "a", right.upper(), "x" * 4000):
        rest, client = await server.clients(wrong)
        for reply in (await rest.get("/v1/queue"), await rest.submit(), await rest.get("/ws")):
            assert (reply.status, reply.code) == (401, "UNAUTHORIZED"), wrong
        seen = await refused(rpc(client, "CreateTask", CREATE))
        assert (seen.code, seen.reason) == (Code.UNAUTHENTICATED, "UNAUTHORIZED"), wrong
        async with server.watch(client=client) as updates:
            assert (await refused(anext(updates))).code is Code.UNAUTHENTICATED
    rest, client = await server.clients("guess")
    statuses = [(await rest.get("/v1/queue")).status for _ in range(60)]
    assert statuses[0] == 401
    assert statuses[-1] == 429, "one address has so many guesses"
    assert (await refused(rpc(client, "CreateTask", CREATE))).code is Code.RESOURCE_EXHAUSTED
    rest, _ = await server.clients(right)
    assert (await rest.get("/v1/tasks")).json["total"] == 0, "a right key passes"
    assert right not in server.log


def open_files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


async def test_oversized_bodies_are_refused(serve: Serve, processes_backend: Backend) -> None:
    server = await serve(processes_backend).start()
    await server.assert_idle()
    before = server.memory

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * MIB

    rest, client = server.rest, server.grpc
    headers = rest.with_key({"Content-Type": "application/json"})
    large = [io.BytesIO(b" " * (32 * MIB)) for _ in range(4)]
    for body in (*large, *(endless() for _ in range(4))):
        try:
            url = rest.url("/v1/tasks")
            async with rest.session.post(url, data=body, headers=headers) as reply:
                assert reply.status == 413
                assert (await reply.json())["code"] == "BAD_REQUEST"
        except aiohttp.ClientConnectionError:
            pass  # it stopped reading before the client had sent all
    for _ in range(4):
        huge = task_pb2.CreateTaskRequest(job_name="a", args="x" * (32 * MIB))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await rpc(client, "CreateTask", huge)
        assert error.value.code() in (Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT)
    assert server.memory - before < 64 * MIB
    assert (await rest.get("/v1/tasks")).json["total"] == 1


async def test_output_flood_is_bounded(serve: Serve, processes_backend: Backend) -> None:
    """Bounded on the disk and in memory; a follower may miss a part, and is told so."""
    server = await serve(processes_backend, FETCHML_TASKS_LOG_BYTES=str(MIB)).start()
    await server.assert_idle()
    before = server.memory
    task_id = await server.submit_running("timeout 2 yes; exit 5")
    request = task_pb2.StreamTaskLogsRequest(task_id=task_id, follow=True)
    lazy = server.grpc.tasks.StreamTaskLogs(request)
    ends, received, most = 0, 0, 0
    async for chunk in server.grpc.tasks.StreamTaskLogs(request):
        assert chunk.offset >= ends
        ends = chunk.offset + len(chunk.data)
        received += len(chunk.data)
        most = max(most, server.memory)
    assert (await server.ended(task_id)).exit_code == 5
    assert ends > 100 * MIB, "a flood"
    assert received > MIB
    assert most - before < 64 * MIB
    folder = server.data_dir / f"tasks/{task_id}/attempts/1/run"
    assert sum(file.stat().st_size for file in folder.glob("log.*")) <= MIB
    task = await server.get(task_id)
    assert task.output == "y\n" * (32 * 1024)
    lazy.cancel()
    await server.assert_idle(task_id)


async def test_two_hundred_closed_streams_leave_nothing_open(
    serve: Serve, processes_backend: Backend
) -> None:
    server = await serve(processes_backend).start()
    await server.assert_idle()
    task_id = await server.submit_running("echo ready; " + UNTIL_TOLD)
    before = open_files(server)
    openers: list[Callable[[Server, str, AsyncExitStack], Awaitable[None]]] = [
        watch_over_grpc,
        watch_over_ws,
        follow_over_grpc,
        follow_over_rest,
    ]
    for _ in range(2):
        async with AsyncExitStack() as stack:
            for opener in openers:
                for _ in range(STREAMS):
                    await soon(opener(server, task_id, stack))
            assert open_files(server) >= before + 4 * STREAMS - 8
            assert "fetchml_http_streams 100.0" in (await metrics(server)).splitlines()
        gc.collect()  # grpc keeps the socket of a closed channel until the channel is no more
        await eventually(lambda: open_files(server) <= before + 8)
    assert "fetchml_http_streams 0.0" in (await metrics(server)).splitlines()
    server.tell(task_id)
    await server.ended(task_id)
    await server.assert_idle(task_id)


async def metrics(server: Server) -> str:
    return (await server.rest.get("/metrics")).body.decode()


def own_connection(server: Server, stack: AsyncExitStack) -> TaskServiceStub:
    """One that shares no socket with others."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.aio.insecure_channel(server.grpc_address, options=options)
    stack.push_async_callback(channel.close)
    return TaskServiceStub(channel)


async def watch_over_grpc(server: Server, task_id: str, stack: AsyncExitStack) -> None:
    request = task_pb2.WatchTasksRequest()
    stub = own_connection(server, stack)
    call = stub.WatchTasks(request, metadata=server.grpc.metadata)
    assert (await anext(aiter(call))).task.id == task_id


async def follow_over_grpc(server: Server, task_id: str, stack: AsyncExitStack) -> None:
    request = task_pb2.StreamTaskLogsRequest(task_id=task_id, follow=True)
    stub = own_connection(server, stack)
    call = stub.StreamTaskLogs(request, metadata=server.grpc.metadata)
    assert (await anext(aiter(call))).data == b"ready\n"


async def watch_over_ws(server: Server, task_id: str, stack: AsyncExitStack) -> None:
    client = server.rest
    url = client.url(f"/ws?since=0&task_id={task_id}")
    ws = await stack.enter_async_context(
        client.session.ws_connect(url, headers=client.with_key({}))
    )
    assert (await ws.receive_json())["task"]["id"] == task_id


async def follow_over_rest(server: Server, task_id: str, stack: AsyncExitStack) -> None:
    client = server.rest
    url = client.url(f"/v1/tasks/{task_id}/logs?follow=1")
    reply = await client.session.get(url, headers=client.with_key({}))
    stack.callback(reply.close)
    assert await reply.content.readexactly(6) == b"ready\n"
