"""In private mode no reply to a user holds an id or a name of another's.

Ada works under names that nobody could guess. Then every operation is called with Bob's key, and
all that comes back is searched for what is Ada's.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fetchml.system.ids import IdSequence
from fetchml.v1 import task_pb2
from tests.hostile.private_scene import ADA, HOOK, NAMES, SECRET, VOLUME, Scene
from tests.hostile.private_scene import scene as scene  # noqa: PLC0414 - a fixture
from tests.server.ways_in_table import METHODS
from tests.support import grpc_world
from tests.support.waiting import SECONDS, soon, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

IDS = {
    "task_id",
    "experiment_id",
    "snapshot_id",
    "service_id",
    "sweep_id",
    "notification_id",
}
"""Fields of requests that name something of a user."""
OPERATIONS = yaml.load(Path("fetchml/api/rest/openapi.yaml").read_text(), yaml.CSafeLoader)["paths"]
UNKNOWN = IdSequence().next(1)
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}")


READS = frozenset({"get", "delete"})
CHANGES = frozenset({"post", "patch"})


def paths(ids: dict[str, str], methods: frozenset[str] = READS) -> list[tuple[str, str]]:
    """Every operation of REST with one of these methods, for each of these ids in its path."""
    found = []
    for template, operations in OPERATIONS.items():
        for method in operations.keys() & methods:
            if template in {"/ws", "/ui/"} or "follow" in template:
                continue
            for id_ in ids.values() if "{" in template else [""]:
                path = re.sub(r"\{(path|file)\}", "result", template).replace("{port}", "80")
                found.append((method.upper(), re.sub(r"\{[^}]+\}", id_, path)))
    return sorted(set(found))


async def test_rest_replies_contain_nothing_of_another_user(scene: Scene) -> None:
    client = scene.bob[0]
    calls = paths(scene.hers) + paths(scene.own)
    calls += [
        ("GET", f"{path}?{query}")
        for method, path in calls
        for query in ("view=full", "folder=checkpoint", "metric=a")
        if method == "GET" and (query == "view=full" or path.endswith(("/outputs", "/best")))
    ]
    assert len(calls) > 60
    for method, path in calls:
        if method == "DELETE" and any(own in path for own in scene.own.values()):
            continue
        reply = await soon(client.ask(method, path))
        assert scene.leaks(reply.body.decode(errors="replace"), path) == [], (method, path)
        assert not any(name in str(reply.headers).lower() for name in NAMES)


@pytest.mark.slow
async def test_foreign_id_is_answered_like_an_unknown_id(scene: Scene) -> None:
    client = scene.bob[0]
    for method, path in paths(scene.hers, READS | CHANGES):
        id_ = next((each for each in scene.hers.values() if each in path), "")
        if not id_:
            continue
        body = b'{"priority":1}' if method == "PATCH" else None
        hers, nobodys = [
            await soon(client.ask(method, asked, body, Content_Type="application/json"))
            for asked in (path, path.replace(id_, UNKNOWN))
        ]
        assert hers.status >= 400 or method == "GET", (method, path)
        assert hers.status == nobodys.status, (method, path)
        assert plain(hers.body.decode()) == plain(nobodys.body.decode()), (method, path)
    for field, hers_id in NAMED_IN_A_SUBMIT.items():
        named, unknown = scene.hers[hers_id], "f" * 64 if field == "snapshot_id" else UNKNOWN
        for request in ({"job_name": "mine"}, SWEEP):
            answers = [
                await soon(client.submit(*with_field(request, field, id_)))
                for id_ in (named, unknown)
            ]
            assert [reply.status for reply in answers] == [422, 422], field
            first, second = [reply.body.decode() for reply in answers]
            assert plain(first) == plain(second), field
    for volume in (VOLUME, "none"):
        reply = await soon(client.submit({"job_name": "mine", "volumes": [volume]}))
        assert reply.status == 422
        assert f"there is no volume '{volume}' that you may use" in reply.json["error"]
    for secret in (SECRET, "NONE"):
        request = {"job_name": "mine", "secrets": [{"name": secret}]}
        reply = await soon(client.submit(request))
        assert reply.status == 422
        assert f"secret {secret} not found: set it first" in reply.json["error"]
        for path in (f"/v1/secrets/{secret}", f"/v1/secrets/{secret}?user_id={ADA}"):
            reply = await soon(client.ask("DELETE", path))
            assert reply.status == (403 if "user_id" in path else 404)


NAMED_IN_A_SUBMIT = {
    "snapshot_id": "snapshot_id",
    "experiment_id": "experiment_id",
    "checkpoint_from": "later",
    "after": "urgent",
    "inputs_from": "failed",
    "after a sweep": "sweep_id",
    "after each of a sweep": "sweep_id",
    "inputs from a sweep": "sweep_id",
}
"""Fields that name something of a user, or ways to do it, and the kind of it."""
SWEEP: dict[str, Any] = {"task": {"job_name": "mine"}, "parameters": {"n": {"values": [1]}}}


def with_field(request: dict[str, Any], field: str, id_: str) -> tuple[dict[str, Any], str]:
    """A request of a task or a sweep in which a task's field names an id, and its path."""
    by_index = {"sweep_id": id_, "same_index": True}
    ways: dict[str, dict[str, Any]] = {
        "after": {"after": [id_]},
        "inputs_from": {"inputs_from": [id_]},
        "after a sweep": {"after": [{"sweep_id": id_}]},
        "after each of a sweep": {"after": [by_index]},
        "inputs from a sweep": {"inputs_from": [id_]},
    }
    named = ways.get(field, {field: id_})
    if "task" in request:
        return {**request, "task": {**request["task"], **named}}, "/v1/sweeps"
    return {**request, **named}, "/v1/tasks"


def plain(text: str) -> str:
    """An answer without ids, the trace's among them."""
    return ID.sub("ID", text)


@pytest.mark.slow
async def test_grpc_replies_contain_nothing_of_another_user(scene: Scene) -> None:
    client = scene.bob[1]
    asked = 0
    for name, method in METHODS.items():
        if method.client_streaming and "start" not in method.input_type.fields_by_name:
            continue
        fields = [field.name for field in method.input_type.fields]
        for ids in (scene.hers, scene.own):
            request: Any = GetMessageClass(method.input_type)()
            for field in IDS & set(fields):
                if field in ids:
                    setattr(request, field, ids[field])
            if "start" in fields:
                request.start.task_id = ids["urgent" if ids is scene.hers else "task_id"]
            if "port" in fields:
                request.port = 80
            if ids is scene.own and name.rpartition(".")[2].startswith(
                ("Delete", "Cancel", "Archive", "Stop", "Exec", "Forward")
            ):
                continue
            said = await answer(client, name, request)
            asked += 1
            assert scene.leaks(said, str(request)) == [], name
            if ids is scene.hers and (named := ID.search(str(request))):
                unknown = with_unknown(request, named[0])
                assert plain(said) == plain(await answer(client, name, unknown)), name
    assert asked > 70


def with_unknown(request: Message, id_: str) -> Message:
    """The request with another id of the same length, which nothing has."""
    other = ("f" * 64 if len(id_) == 64 else UNKNOWN).encode()
    return type(request).FromString(request.SerializeToString().replace(id_.encode(), other))


async def answer(client: grpc_world.Client, name: str, request: Any) -> str:
    """All that a call gives within a moment: messages, or the error with its details."""
    method = METHODS[name]
    shape = "unary_stream" if method.server_streaming else "unary_unary"
    if method.client_streaming:
        shape, request = "stream_stream", iter([request])
    call = getattr(client.channel, shape)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )(request, metadata=client.metadata, timeout=2 if method.server_streaming else SECONDS)
    try:
        if not method.server_streaming:
            return str(await call)
        return "".join([str(message) async for message in call])
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED or "Stream removed" in str(error):
            return "goes on"  # What gRPC says of it depends on which end is the first to notice.
        trailers = error.trailing_metadata() or ()
        return f"{error.details()} {[value for _, value in trailers]}"


async def test_streams_contain_nothing_of_another_user(scene: Scene) -> None:
    rest, rpc = scene.bob
    last = await scene._submit(rest, "last", "true")
    async with (
        asyncio.timeout(SECONDS),
        rest.session.ws_connect(rest.url("/ws?since=0"), headers=rest.with_key({})) as socket,
        rest.session.ws_connect(
            rest.url("/ws?since=0&batch=1&view=full"), headers=rest.with_key({})
        ) as batches,
        scene.server.watch(since=0, client=rpc) as updates,
    ):
        seen = 0
        async for message in batches:
            assert scene.leaks(str(message.data)) == []
            tasks = json.loads(message.data).get("tasks", ())
            if any(task["id"] == last for task in tasks):
                break
        async for message in socket:
            seen += 1
            assert scene.leaks(str(message.data)) == []
            if json.loads(message.data).get("task", {}).get("id") == last:
                break
        async for update in updates:
            assert scene.leaks(str(update)) == []
            if update.task.id == last:
                break
    assert seen > 5


async def test_owner_and_admin_see_the_hidden_records(scene: Scene) -> None:
    """So the search finds what is there."""
    for client in (scene.ada, scene.server.rest):
        for path in (f"/v1/tasks/{scene.hers['task_id']}", "/v1/gpus", "/v1/bookings"):
            reply = await soon(client.get(path))
            assert scene.leaks(reply.body.decode()), path
    reply = await soon(scene.ada.get("/v1/notifications"))
    assert HOOK in reply.body.decode()
    request = task_pb2.GetTaskRequest(task_id=scene.hers["urgent"], view=task_pb2.FULL)
    assert scene.leaks(await answer(scene.server.grpc, "TaskService.GetTask", request))


async def test_pages_of_a_notebook_name_nothing_of_another_user(scene: Scene) -> None:
    """While it runs and afterwards, on the server's own origin and on the notebook's. The last of
    this file: its end is that of the notebook."""
    service = scene.hers["service_id"]
    client, port = scene.bob[0], scene.server.http_address.rpartition(":")[2]

    async def look() -> None:
        for host in (f"127.0.0.1:{port}", f"{service}.localhost:{port}"):
            for path in ("", "/", "/lab", "/api/status", "/.fetchml/notice", "/nothing"):
                async with client.session.get(
                    client.url(f"/jupyter/{service}{path}"),
                    headers=client.with_key({"Host": host}),
                    allow_redirects=False,
                ) as reply:
                    said = f"{await reply.text()} {reply.headers}"
                assert scene.leaks(said, service) == [], (host, path)

    await look()
    assert (await scene.ada.ask("DELETE", f"/v1/jupyter/services/{service}")).status == 204
    await until(
        lambda: scene.ada.get(f"/v1/jupyter/services/{service}"),
        lambda shown: shown.json["status"] == "stopped",
    )
    await look()
