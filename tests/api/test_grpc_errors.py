"""Authentication over gRPC, and the statuses and details of failed calls."""

import asyncio
import logging
import socket
import stat
from pathlib import Path
from typing import Any

import grpc
import pytest

from fetchml import errors
from fetchml.api.grpc.call import address_of
from fetchml.api.grpc.errors import failure
from fetchml.auth.limits import RateLimiter
from fetchml.v1 import key_pb2, queue_pb2, task_pb2
from fetchml.v1.error_pb2 import ErrorResponse
from tests.support.front import EDGE
from tests.support.grpc_world import (
    World,
    failed_call,
    grpc_world,
    refusal,
)

Code = grpc.StatusCode
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def refused(world: World, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
    request = task_pb2.GetTaskRequest(task_id="nothing")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await world.client.tasks.GetTask(request, metadata=(*world.client.metadata, *metadata))
    return error.value


@pytest.mark.fronts(EDGE)
@pytest.mark.parametrize(
    ("failed", "code", "reason"),
    [
        (errors.BadRequest("m"), Code.INVALID_ARGUMENT, "BAD_REQUEST"),
        (errors.Unauthorized("m"), Code.UNAUTHENTICATED, "UNAUTHORIZED"),
        (errors.Forbidden("m"), Code.PERMISSION_DENIED, "FORBIDDEN"),
        (errors.NotFound("m"), Code.NOT_FOUND, "NOT_FOUND"),
        (errors.Conflict("m"), Code.FAILED_PRECONDITION, "CONFLICT"),
        (errors.Unavailable("m"), Code.UNAVAILABLE, "SERVICE_UNAVAILABLE"),
    ],
)
async def test_every_error_has_its_code_and_details(
    world: World, failed: errors.RequestError, code: grpc.StatusCode, reason: str
) -> None:
    world.engine.fail(failed)
    seen = refusal(await refused(world))
    assert (seen.code, seen.reason, seen.message) == (code, reason, "m")


def test_every_code_of_the_contract_has_its_status() -> None:
    contract = ErrorResponse.Code.keys()[1:]
    assert len(contract) == 9
    for reason in contract:
        error = errors.RequestError("m")
        error.code = reason  # type: ignore[misc]
        assert failure(error, "t").code is not Code.OK
    for kind in errors.RequestError.__subclasses__():
        assert kind.code in contract


async def test_violations_are_listed_by_field(world: World) -> None:
    world.engine.fail(
        errors.ValidationFailed(
            [errors.FieldViolation("cpu", "too many"), errors.FieldViolation("args", "unbalanced")]
        )
    )
    seen = refusal(await refused(world))
    assert seen.reason == "VALIDATION_ERROR"
    assert seen.violations == [("cpu", "too many"), ("args", "unbalanced")]


@pytest.mark.fronts(EDGE)
async def test_error_with_thousands_of_violations_is_delivered(world: World) -> None:
    rule = "must be é" * 20
    world.engine.fail(
        errors.ValidationFailed(
            [errors.FieldViolation(f"tasks[{index}].job_name", rule) for index in range(10_000)]
        )
    )
    seen = refusal(await refused(world))
    assert seen.reason == "VALIDATION_ERROR"
    assert seen.violations[0] == ("tasks[0].job_name", rule)
    assert 5 < len(seen.violations) < 50


async def test_internal_errors_are_logged_and_not_sent(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.engine.fail(RuntimeError("password=hunter2"))
    with caplog.at_level(logging.ERROR, "fetchml"):
        error = await refused(world, ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"))
    seen = refusal(error)
    assert (seen.code, seen.reason) == (Code.INTERNAL, "INTERNAL_ERROR")
    assert seen.message == "An error occurred"
    assert "hunter2" not in str(error.trailing_metadata())
    assert "hunter2" in caplog.text


async def test_trace_id_is_the_callers_or_new(world: World) -> None:
    theirs = refusal(await refused(world, ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")))
    assert theirs.trace_id.replace("-", "") == TRACE
    first, second = refusal(await refused(world)), refusal(await refused(world))
    assert first.trace_id != second.trace_id
    call = world.client.queue.GetQueue(queue_pb2.GetQueueRequest())
    await call
    assert len(dict(await call.trailing_metadata())["x-trace-id"]) == 36


async def test_trace_id_falls_back_to_the_proxys_request_id(world: World) -> None:
    request_id = "0b3f6c1e-5d0a-4c56-9e0c-3b1f0a7d2c11"
    assert refusal(await refused(world, ("x-request-id", request_id))).trace_id == request_id


async def test_malformed_message_is_an_invalid_argument(world: World) -> None:
    not_utf8 = b"\x0a\x02\xff\xfe"
    for data in (not_utf8, b"\x0a\xff"):
        call = world.client.channel.unary_unary("/fetchml.v1.TaskService/CreateTask")
        seen = await failed_call(call(data))
        assert (seen.code, seen.reason) == (Code.INVALID_ARGUMENT, "BAD_REQUEST")
    batch = world.client.channel.stream_unary("/fetchml.v1.TaskService/CreateTasks")
    refused = await failed_call(batch(iter([b"\x0a\xff"])))
    assert refused.reason == "BAD_REQUEST"
    assert world.engine.requests == []


@pytest.mark.fronts(EDGE)
async def test_oversized_message_is_rejected(world: World) -> None:
    request = task_pb2.CreateTaskRequest(job_name="digits", args="x" * (16 * 1024 * 1024))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await world.client.tasks.CreateTask(request)
    assert error.value.code() is Code.RESOURCE_EXHAUSTED
    assert world.engine.requests == []


async def test_unknown_method_is_unimplemented(world: World) -> None:
    call = world.client.channel.unary_unary("/fetchml.v1.TaskService/Nothing")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call(b"")
    assert error.value.code() is Code.UNIMPLEMENTED


async def test_rate_limited_call_has_a_retry_delay(tmp_path: Path) -> None:
    async with grpc_world(tmp_path, RateLimiter(per_second=1, burst=2)) as world:
        seen = [refusal(await refused(world)) for _ in range(3)]
    assert [one.reason for one in seen] == ["NOT_FOUND", "NOT_FOUND", "RATE_LIMITED"]
    assert seen[2].code is Code.RESOURCE_EXHAUSTED
    assert seen[2].retry_seconds == 1


async def test_control_socket_needs_no_key(world: World) -> None:
    assert stat.S_IMODE(world.control_socket.stat().st_mode) == 0o600
    async with world.connect(None, local=True) as client:
        request = key_pb2.CreateKeyRequest(name="ci", role="user")
        made = await client.keys.CreateKey(request)
        assert made.secret.startswith("fml_")
        assert made.key.name == "ci"
        async with world.connect(made.secret) as other:
            await other.queue.GetQueue(queue_pb2.GetQueueRequest())
            revoked = await client.keys.RevokeKey(key_pb2.RevokeKeyRequest(key_id=made.key.id))
            assert revoked.HasField("revoked_at")
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await other.queue.GetQueue(queue_pb2.GetQueueRequest())
        assert refusal(error.value).code is Code.UNAUTHENTICATED


async def test_control_socket_of_a_dead_server_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    async with grpc_world(tmp_path) as world, world.connect(None, local=True) as client:
        assert (await client.keys.ListKeys(key_pb2.ListKeysRequest())).keys


async def test_two_servers_cannot_share_a_port(world: World, tmp_path: Path) -> None:
    async with grpc_world(tmp_path / "..") as other:
        with pytest.raises(OSError, match="in use"):
            await other.server.start(world.address)


@pytest.mark.parametrize("address", ["unix:5", "unix:/tmp/x", "unix-abstract:5"])
async def test_public_address_cannot_be_a_unix_socket(world: World, address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        await world.server.start(address)


def test_peer_addresses_are_parsed() -> None:
    assert address_of("ipv4:127.0.0.1:53422") == "127.0.0.1"
    assert address_of("ipv6:%5B::1%5D:53422") == "::1"


async def test_unary_calls_finish_before_the_server_stops(world: World) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    answer = world.engine.engine.status.queue_stats

    async def slow(who: Any) -> object:
        entered.set()
        await leave.wait()
        return await answer(who)

    world.engine.replace("queue_stats", slow, world.engine.engine.status)
    call = world.client.queue.GetQueue(queue_pb2.GetQueueRequest())
    await entered.wait()
    stopping = asyncio.create_task(world.server.stop(5))
    leave.set()
    assert (await call).workers == 1
    await stopping
