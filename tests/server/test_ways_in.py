"""The access of each role over every operation of a real server, as one table."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import msgspec
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from fetchml.core.model import Role
from fetchml.v1 import (
    key_pb2,
    task_pb2,
)
from tests.server.ways_in_table import (
    CALLERS,
    GRPC,
    JUPYTER_GRPC,
    JUPYTER_REST,
    METHODS,
    REST,
    RUN_ID,
    STATUS,
    STREAMS,
    SWEEP,
    Expected,
)
from tests.support import grpc_world, rest_world
from tests.support.archives import archive
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.validate import SUPERSET
from tests.support.waiting import SECONDS, soon


class Box:
    """A server, with what the owner has made on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._numbers = itertools.count()
        self.callers: dict[str, tuple[rest_world.Client, grpc_world.Client]] = {}
        self.twins: dict[str, rest_world.Client] = {}
        """A user's key with the caller's name, so that a viewer's tasks can be made."""

    async def prepare(self) -> None:
        roles = (Role.USER, Role.USER, Role.VIEWER, Role.ADMIN, Role.USER)
        for caller, role in zip(CALLERS[:-1], roles, strict=True):
            secret = await self.server.key(caller, role)
            self.callers[caller] = await self.server.clients(secret)
            twin = await self.server.key(caller, Role.USER)
            self.twins[caller] = (await self.server.clients(twin))[0]
        self.callers["nobody"] = await self.server.clients(None)
        _, admin = self.callers["admin"]
        keys = await admin.keys.ListKeys(key_pb2.ListKeysRequest())
        [revoked] = [key.id for key in keys.keys if key.name == "revoked"][:1]
        await admin.keys.RevokeKey(key_pb2.RevokeKeyRequest(key_id=revoked))
        self.owner = self.callers["owner"][0]

    async def make(self) -> None:
        self.kept = await self.made("echo said; echo data > $FETCHML_OUTPUTS/result")
        await self.server.ended(self.kept["task"])
        # From now on nothing runs: what is made waits.
        await self.server.running((await self.made("sleep 1000"))["task"])

    async def started(self) -> dict[str, str]:
        """The id of a Jupyter service, started by the owner just now."""
        service = await self.owner.submit({"name": "a"}, "/v1/jupyter/services")
        return {"service": service.json["id"]}

    async def made(self, script: str = "true") -> dict[str, str]:
        """Ids of one of everything, made by the owner just now."""
        number = next(self._numbers)
        task = await self.owner.submit({"job_name": "a", "command": ["sh", "-c", script]})
        experiment = await self.owner.submit({"name": "a"}, "/v1/experiments")
        sweep = await self.owner.submit(SWEEP, "/v1/sweeps")
        sweep_id = sweep.json["id"]
        of_sweep = (await self.owner.get(f"/v1/tasks?sweep_id={sweep_id}")).json["tasks"]
        code = archive({"mine": str(number).encode(), "result": b"x"})
        snapshot = await self.owner.ask(
            "PUT", "/v1/snapshots", code, Content_Type="application/gzip"
        )
        _, admin = self.callers["admin"]
        request = key_pb2.CreateKeyRequest(name=f"key-{number}", role=key_pb2.Key.user)
        key = await admin.keys.CreateKey(request)
        return {
            "task": task.json["id"],
            "experiment": experiment.json["id"],
            "sweep": sweep_id,
            "of_sweep": of_sweep[0]["id"],
            "snapshot": snapshot.json["id"],
            "key": key.key.id,
        }


@asynccontextmanager
async def box(serve: Serve, backend: Backend, *, private: bool) -> AsyncIterator[Box]:
    server = serve(
        backend,
        FETCHML_AUTH_PRIVATE=str(private).lower(),
        FETCHML_TASKS_MAX_RUNNING="1",
        FETCHML_GPU_SLOTS="1",
    )
    await server.start()
    made = Box(server)
    await made.prepare()
    yield made
    await server.stop()


async def tried(
    made: Box,
    rest: list[tuple[str, str, Expected, dict[str, Any]]],
    rpc: list[tuple[str, dict[str, Any], Expected, dict[str, Any]]],
    ids: Callable[..., Awaitable[dict[str, str]]],
) -> dict[str, list[str]]:
    """What each caller gets, by the operation."""
    found = dict[str, list[str]]()

    async def over(
        name: str, options: dict[str, Any], call: Callable[[str, dict[str, str]], Awaitable[str]]
    ) -> None:
        answers = found[name] = []
        for caller in CALLERS:
            if not answers or answers[-1] == "ok":  # Another answer has changed nothing.
                on = await ids(**options)
            answers.append(await call(caller, on))

    for method, path, _, options in rest:
        await over(
            f"{method} {path} {options.get('json', '')}",
            options,
            lambda c, on: over_rest(made.callers[c][0], method, path, on, **options),  # noqa: B023
        )
    for method, fields, _, options in rpc:
        await over(
            f"{method} {fields}",
            options,
            lambda c, on: over_grpc(made.callers[c][1], method, fields, on, **options),  # noqa: B023
        )
    return found


def filled(value: Any, ids: dict[str, str]) -> Any:
    """With the ids in their places."""
    if isinstance(value, dict):
        return {name: filled(inner, ids) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, ids) for inner in value]
    return value.format(**ids) if isinstance(value, str) else value


async def over_rest(
    client: rest_world.Client,
    method: str,
    path: str,
    ids: dict[str, str],
    *,
    lists: str = "",
    json: Any = None,
    body: bytes | None = None,
    **_: Any,
) -> str:
    headers = {}
    if json is not None:
        body, headers = msgspec.json.encode(filled(json, ids)), rest_world.JSON
    elif body is not None:
        headers = {"Content-Type": "application/gzip"}
    reply = await client.ask(method, path.format(**ids), body, **headers)
    if reply.status >= 300:
        return str(reply.status)
    return "absent" if lists and ids[lists].encode() not in reply.body else "ok"


async def over_grpc(
    client: grpc_world.Client,
    name: str,
    fields: dict[str, Any],
    ids: dict[str, str],
    *,
    lists: str = "",
    endless: bool = False,
    **_: Any,
) -> str:
    """`endless`: the stream's first message is read."""
    method = METHODS[name]
    if method.client_streaming and method.server_streaming:
        return await asyncio.to_thread(converse, client, method, filled(fields, ids))
    shape = "_".join(
        "stream" if streams else "unary"
        for streams in (method.client_streaming, method.server_streaming)
    )
    stub = getattr(client.channel, shape)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    request = GetMessageClass(method.input_type)(**filled(fields, ids))
    sent = iter([request]) if method.client_streaming else request
    call = stub(sent, timeout=SECONDS)
    try:
        if endless:
            said = str(await call.read())
            call.cancel()
        elif method.server_streaming:
            said = "".join([str(message) async for message in call])
        else:
            said = str(await call)
    except grpc.aio.AioRpcError as error:
        return STATUS[error.code()]
    return "absent" if lists and ids[lists] not in said else "ok"


def converse(client: grpc_world.Client, method: MethodDescriptor, fields: dict[str, Any]) -> str:
    """grpc.aio's client takes a refusal before its first message for an error of its own."""
    with grpc.insecure_channel(client.target) as channel:
        call = channel.stream_stream(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        requests = iter([GetMessageClass(method.input_type)(**fields)])
        try:
            list(call(requests, metadata=client.metadata, timeout=SECONDS))
        except grpc.RpcError as error:
            return STATUS[error.code()]
    return "ok"


async def over_ws(client: rest_world.Client, wanted: str, last: str) -> str:
    """Whether `wanted` comes before `last`."""
    try:
        async with client.session.ws_connect(
            client.url("/ws?since=0"), headers=client.with_key({})
        ) as socket:
            seen = ""
            while last not in seen:
                seen += await socket.receive_str(timeout=SECONDS)
    except aiohttp.WSServerHandshakeError as error:
        return str(error.status)
    return "ok" if wanted in seen else "absent"


async def over_watch(client: grpc_world.Client, wanted: str, last: str) -> str:
    request = task_pb2.WatchTasksRequest(since_seq=0)
    call = client.tasks.WatchTasks(request, timeout=SECONDS)
    seen = set[str]()
    try:
        async for update in call:
            seen.add(update.task.id)
            if last in seen:
                break
    except grpc.aio.AioRpcError as error:
        return STATUS[error.code()]
    call.cancel()
    return "ok" if wanted in seen else "absent"


def expected(row: Expected, *, private: bool) -> list[str]:
    return [*(row.private if private else row.open).split(), "401", "401"]


def table_of(
    rest: list[tuple[str, str, Expected, dict[str, Any]]],
    rpc: list[tuple[str, dict[str, Any], Expected, dict[str, Any]]],
    *,
    private: bool,
) -> dict[str, list[str]]:
    table = {
        f"{method} {path} {options.get('json', '')}": expected(row, private=private)
        for method, path, row, options in rest
    }
    return table | {
        f"{method} {fields}": expected(row, private=private) for method, fields, row, _ in rpc
    }


@pytest.mark.slow
@pytest.mark.parametrize("private", [False, True], ids=["open", "private"])
async def test_access_table(serve: Serve, processes_backend: Backend, private: bool) -> None:
    table = table_of(REST, GRPC, private=private)
    async with box(serve, processes_backend, private=private) as made:
        await made.make()

        async def ids(*, fresh: bool = False, **_: Any) -> dict[str, str]:
            return await made.made() if fresh else made.kept

        found = await tried(made, REST, GRPC, ids)
        for name, row in STREAMS.items():
            table[name] = expected(row, private=private)
            found[name] = []
            for caller in CALLERS:
                rest, rpc = made.callers[caller]
                own = ""
                if caller in made.twins:
                    own = str((await made.twins[caller].submit()).json["id"])
                task = made.kept["task"]
                watching = over_ws(rest, task, own) if name == "/ws" else over_watch(rpc, task, own)
                found[name].append(await soon(watching))
    assert found == table


@pytest.mark.slow
@pytest.mark.parametrize("private", [False, True], ids=["open", "private"])
async def test_access_table_of_jupyter(serve: Serve, tmp_path: Path, private: bool) -> None:
    away = {"FETCHML_LAUNCHER": "docker", "DOCKER_HOST": f"unix://{tmp_path}/none"}
    async with box(serve, Backend(away, lambda: ()), private=private) as made:
        kept = await made.started()

        async def ids(*, fresh: bool = False, **_: Any) -> dict[str, str]:
            return await made.started() if fresh else kept

        found = await tried(made, JUPYTER_REST, JUPYTER_GRPC, ids)
    assert found == table_of(JUPYTER_REST, JUPYTER_GRPC, private=private)


async def test_hidden_snapshot_cannot_be_run(serve: Serve, processes_backend: Backend) -> None:
    server = serve(processes_backend, FETCHML_AUTH_PRIVATE="true")
    await server.start()
    owner, _ = await server.clients(await server.key("owner", Role.USER))
    other, _ = await server.clients(await server.key("other", Role.USER))
    code = archive({"mine": b"secret"})
    kept = await owner.ask("PUT", "/v1/snapshots", code, Content_Type="application/gzip")
    refused = list[str]()
    for snapshot_id in (kept.json["id"], "0" * 64):
        request = {"job_name": "a", "command": ["cat", "mine"], "snapshot_id": snapshot_id}
        reply = await other.submit(request)
        assert reply.status == 422
        refused.append(reply.error)
    assert refused[0] == refused[1], "nothing reveals that it is there"
    assert "snapshot not found" in refused[0]


def test_every_operation_is_in_the_table() -> None:
    """What is added to the server is added to the table above."""
    keyless = {"/health", "/livez", "/readyz", "/openapi.yaml", "/ui/session", "/ui/session/code"}
    placeholders = {
        "{taskId}": "{task}",
        "{otherId}": "{task}",
        "{experimentId}": "{experiment}",
        "{sweepId}": "{sweep}",
        "{snapshotId}": "{snapshot}",
        "{serviceId}": "{service}",
        "{runId}": RUN_ID,
        "{keyId}": "{key}",
        "{name}": "TOKEN",
        "{bookingId}": "none",
        "{environmentId}": "none",
        "{path}": "result",
        "{uuid}": "slot-0",
        "{port}": "80",
        "{notificationId}": "none",
    }
    operations = set()
    for path, described in SUPERSET["paths"].items():
        if path in keyless:
            continue
        for parameter, ours in placeholders.items():
            path = path.replace(parameter, ours)  # noqa: PLW2901
        operations |= {(method.upper(), path) for method in described}
    tried = {(method, path.partition("?")[0]) for method, path, _, _ in REST + JUPYTER_REST}
    assert operations == tried | {("GET", "/ws")}
    called = {method for method, _, _, _ in GRPC + JUPYTER_GRPC}
    assert METHODS.keys() == called | {"TaskService.WatchTasks"}
