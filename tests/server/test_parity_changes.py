"""Dry runs, changes and retries of tasks have the same outcome over both transports."""

from typing import Any

import msgspec
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from fetchml.v1 import queue_pb2, server_pb2, snapshot_pb2, task_pb2
from fetchml.v1.server_pb2_grpc import ServerServiceStub
from fetchml.v1.snapshot_pb2_grpc import SnapshotServiceStub
from tests.server.parity import (
    as_json,
    both_create,
    call,
    nothing_changes,
    refused,
    same,
    without_own,
)
from tests.server.parity_cases import (
    BAD,
    GOOD,
    SNAPSHOT,
)
from tests.support.program import Server
from tests.support.rest_world import JSON
from tests.support.waiting import until


async def test_validation_has_the_outcome_of_a_create(parity_server: Server) -> None:
    """Of valid and invalid requests, over both transports; nothing is kept."""
    server = parity_server

    async def validated(fields: dict[str, Any]) -> list[Any]:
        path = "/v1/tasks?view=FULL&validate_only=true"
        reply = await server.rest.submit(fields, path)
        flags = {"view": "FULL", "validate_only": True}
        request = ParseDict({**fields, **flags}, task_pb2.CreateTaskRequest())
        over_grpc = await call(server, "CreateTask", request)
        return [same(reply.json) if reply.status == 200 else refused(reply), over_grpc]

    for name, fields in GOOD.items():
        async with nothing_changes(server):
            over_rest, over_grpc = await validated(fields)
        assert "id" not in over_rest, name
        assert over_rest.keys() == over_grpc.keys(), name
        for task in (over_rest, over_grpc):
            assert task.pop("start_estimate")["p50"] >= task["created_at"], name
        assert without_own(over_rest) == without_own(over_grpc), name
        created, _ = await both_create(server, fields, "FULL")
        assert without_own(over_rest) == without_own(created), name
    async with nothing_changes(server):
        for name, fields in BAD.items():
            assert (await validated(fields))[0] == (await both_create(server, fields))[0], name


async def test_changes_of_a_task_have_the_same_outcome(parity_server: Server) -> None:
    server = parity_server
    waits = await server.submit("true", metadata={"a": "1", "b": "2"})
    running = (await server.rest.get("/v1/tasks?status=running")).json["tasks"][0]["id"]
    changes: list[dict[str, Any]] = [
        {"priority": 9},
        {"metadata": {"a": "", "c": "3"}},
        {"priority": 2, "metadata": {"d e": "é"}},
        {"hold": True, "start_after": "2999-01-01T00:00:00Z"},
        {"hold": False, "start_after": "2998-01-01T00:00:00.500Z"},
        {"timeout_seconds": 500},
        {"timeout_seconds": 0},
        {"timeout_seconds": -1},
        {"timeout_seconds": 2147484},
        {"priority": 0},
        {"priority": 11, "metadata": {"": "x" * (1 << 16)}},
        {},
    ]
    for task_id in (waits, running):
        for fields in changes:
            path = f"/v1/tasks/{task_id}?view=FULL"
            body = msgspec.json.encode(fields)
            reply = await server.rest.ask("PATCH", path, body, **JSON)
            request = ParseDict({**fields, "view": "FULL"}, task_pb2.UpdateTaskRequest())
            request.task_id = task_id
            over_grpc = await call(server, "UpdateTask", request)
            over_rest = same(reply.json) if reply.status == 200 else refused(reply)
            for each in (over_rest, over_grpc):
                if isinstance(each, dict):  # What was prestaged may be discarded in between.
                    for field in ("ahead", "progress", "begun_at", "earlier_attempts"):
                        each.pop(field, None)
            assert over_rest == over_grpc, fields
    assert over_rest.code == "VALIDATION_ERROR"
    task = (await server.rest.get(f"/v1/tasks/{waits}?view=full")).json
    assert (task["priority"], task["metadata"]) == (2, {"b": "2", "c": "3", "d e": "é"})
    request = task_pb2.UpdateTaskRequest(
        task_id=waits, priority=3, metadata={"b": ""}, view=task_pb2.FULL
    )
    request.update_mask.paths.append("priority")
    task = await call(server, "UpdateTask", request)
    assert task["priority"] == 3
    assert task["start_after"] == "2998-01-01T00:00:00.500Z"
    request.update_mask.paths[:] = ["start_after"]
    assert "start_after" not in await call(server, "UpdateTask", request)
    request.update_mask.paths[:] = ["timeout_seconds"]
    assert (await call(server, "UpdateTask", request)).code == "BAD_REQUEST"
    request.timeout_seconds = 70
    assert (await call(server, "UpdateTask", request))["timeout_seconds"] == 70
    request.update_mask.paths[:] = ["hold"]
    assert (await call(server, "UpdateTask", request)).code == "BAD_REQUEST"
    request.update_mask.paths.append("job_name")
    assert (await call(server, "UpdateTask", request)).code == "BAD_REQUEST"
    task = (await server.rest.get(f"/v1/tasks/{waits}?view=full")).json
    assert task["metadata"]["b"] == "2", "the mask left the labels out"


async def test_retries_of_a_task_have_the_same_outcome(parity_server: Server) -> None:
    server = parity_server
    waits = await server.submit("true", **GOOD["everything"] | {"command": ["true"]})
    over_rest = refused(await server.rest.ask("POST", f"/v1/tasks/{waits}/retry"))
    retry = task_pb2.RetryTaskRequest(task_id=waits, view="FULL")
    assert await call(server, "RetryTask", retry) == over_rest
    assert over_rest.code == "CONFLICT"
    await server.rest.ask("DELETE", f"/v1/tasks/{waits}")
    reply = await server.rest.ask("POST", f"/v1/tasks/{waits}/retry?view=full")
    assert reply.status == 201
    over_grpc = await call(server, "RetryTask", retry)
    assert without_own(same(reply.json)) == without_own(over_grpc)
    assert over_grpc["status"] == "queued"
    assert len({waits, reply.json["id"], over_grpc["id"]}) == 3
    path = f"/v1/tasks/{waits}/retry"
    first = await server.rest.ask("POST", path, Idempotency_Key="again")
    retry.idempotency_key = "again"
    assert (await call(server, "RetryTask", retry))["id"] == first.json["id"]
    for key in ("", "a b"):
        reply = await server.rest.ask("POST", f"/v1/tasks/{waits}/retry", None, Idempotency_Key=key)
        retry.idempotency_key = key
        assert (await call(server, "RetryTask", retry)).code == refused(reply).code


async def test_queue_and_server_are_equal(parity_server: Server) -> None:
    server = parity_server
    ids = [await server.submit("true", priority=priority) for priority in (1, 9)]
    rpc = server.grpc

    async def same_as(path: str, stub: Any, request: Message) -> Any:
        over_rest = (await server.rest.get(path)).json
        assert without_sizes(same(over_rest)) == without_sizes(as_json(await stub(request)))
        return over_rest

    async def waiting() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await server.rest.get("/v1/queue/waiting")).json["waiting"]
        return rows

    # Until then both transports may see the first task at different steps.
    await until(waiting, lambda rows: "is ready to start" in rows[0]["reason"])
    queue = queue_pb2.ListQueueRequest(limit=5, view=task_pb2.FULL)
    listed = await same_as("/v1/queue/waiting?limit=5&view=full", rpc.queue.ListQueue, queue)
    assert [(row["task"]["id"], row["position"]) for row in listed["waiting"]] == [
        (ids[1], 1),
        (ids[0], 2),
    ]
    host = ServerServiceStub(rpc.channel)
    info = await same_as("/v1/server", host.GetServerInfo, server_pb2.GetServerInfoRequest())
    assert (info["launcher"], info["max_running"]) == ("process", 1)
    doctor = await same_as("/v1/doctor", host.RunDoctor, server_pb2.RunDoctorRequest())
    names = [finding["name"] for finding in doctor["findings"]]
    assert {"data directory", "disk", "clock", "launcher"} <= set(names)
    files = snapshot_pb2.ListSnapshotFilesRequest(snapshot_id=SNAPSHOT)
    snapshots = SnapshotServiceStub(rpc.channel)
    path = f"/v1/snapshots/{SNAPSHOT}/files"
    [listed] = (await same_as(path, snapshots.ListSnapshotFiles, files))["files"]
    assert (listed["path"], listed["size_bytes"]) == ("train.py", 8)
    assert (await server.rest.get(f"{path}/train.py")).body == b"print(1)"
    for bad in ("-1", "10001"):
        refused(await server.rest.get(f"{path}?limit={bad}"))
        refused(await server.rest.get(f"/v1/queue/waiting?limit={bad}"))


def without_sizes(value: Any) -> Any:
    """Without the numbers that protobuf's JSON writes as text, and empty lists, which it leaves
    out."""
    if isinstance(value, dict):
        shown = {name: each for name, each in value.items() if "bytes" not in name and each != []}
        return {name: without_sizes(each) for name, each in shown.items()}
    return [without_sizes(each) for each in value] if isinstance(value, list) else value
