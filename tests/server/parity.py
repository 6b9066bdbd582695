"""The outcome of a request over each transport, in one form."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from fetchml.v1 import task_pb2
from tests.server.parity_cases import (
    STATUS,
)
from tests.support.grpc_world import failed_call, refusal
from tests.support.program import Server
from tests.support.rest_world import Reply
from tests.support.waiting import soon


class Outcome(NamedTuple):
    code: str
    message: str


@asynccontextmanager
async def nothing_changes(server: Server) -> AsyncIterator[None]:
    """Of any task, until a last one is made."""
    before = (await server.rest.get("/v1/tasks?limit=0")).json["total"]
    async with server.watch(since=None) as updates:
        while (await soon(anext(updates))).type != task_pb2.WatchTasksResponse.synced:
            pass
        yield
        task_id = await server.submit("true")
        assert (await soon(anext(updates))).task.id == task_id
    assert (await server.rest.get("/v1/tasks?limit=0")).json["total"] == before + 1


def refused(reply: Reply) -> Outcome:
    assert reply.status == STATUS[reply.code][0], reply.body
    return Outcome(reply.code, reply.error)


async def call(server: Server, method: str, request: Message) -> Any:
    return await outcome(getattr(server.grpc.tasks, method)(request))


async def outcome(called: Awaitable[Message]) -> Any:
    """The reply's JSON, or why it was refused."""
    try:
        return as_json(await soon(called))
    except grpc.aio.AioRpcError as error:
        seen = refusal(error)
        assert seen.code is STATUS[seen.reason][1], seen
        return Outcome(seen.reason, seen.message)


async def stream(server: Server, method: str, request: Message) -> Any:
    """Why a stream was refused at its beginning."""
    replies = getattr(server.grpc.tasks, method)(request)
    seen = await failed_call(soon(anext(aiter(replies))))
    return Outcome(seen.reason, seen.message)


def as_json(message: Message) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


def same(value: Any) -> Any:
    """REST's JSON as protobuf writes it: a fraction of a second that is zero is left out."""
    if isinstance(value, dict):
        return {name: same(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [same(entry) for entry in value]
    if isinstance(value, str) and value.endswith(".000Z"):
        return value.replace(".000Z", "Z")
    return value


def without_own(task: dict[str, Any]) -> dict[str, Any]:
    """What two tasks of the same request have in common."""
    return {name: value for name, value in task.items() if name not in ("id", "created_at")}


async def both_create(server: Server, fields: dict[str, Any], view: str = "BASIC") -> list[Any]:
    reply = await server.rest.submit(fields, f"/v1/tasks?view={view}")
    request = ParseDict({**fields, "view": view}, task_pb2.CreateTaskRequest())
    over_grpc = await call(server, "CreateTask", request)
    over_rest = same(reply.json) if reply.status == 201 else refused(reply)
    return [over_rest, over_grpc]
