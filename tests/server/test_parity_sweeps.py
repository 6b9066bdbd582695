"""REST and gRPC give the same outcome to the same request for a sweep."""

import math
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from fetchml.v1 import sweep_pb2, task_pb2
from fetchml.v1.sweep_pb2_grpc import SweepServiceStub
from tests.server.parity import call, outcome, refused, same
from tests.support.program import Server

TASK = {"job_name": "a", "args": "--lr {lr}", "command": ["true"]}
VALUES = {"lr": {"values": [0.1, 2, 3.0, "a b", True, 1e-05]}}
GOOD: dict[str, dict[str, Any]] = {
    "values": {"task": TASK, "parameters": VALUES},
    "all fields": {
        "name": "first é",
        "task": TASK,
        "parameters": {"lr": {"range": [0, 1, 0.25]}, "seed": {"range": [1, 5]}},
        "mode": "zip",
        "max_parallel": 2,
    },
    "draws": {
        "task": TASK,
        "parameters": {"lr": {"log_uniform": [0.0001, 1]}, "x": {"uniform": [-1, 1]}},
        "mode": "random",
        "samples": 3,
        "random_seed": 7,
    },
}
BAD: dict[str, dict[str, Any]] = {
    "bad task": {"task": {**TASK, "priority": 11}, "parameters": VALUES},
    "two kinds": {"task": TASK, "parameters": {"lr": {"values": [1], "range": [1, 2]}}},
    "unknown placeholder": {"task": TASK, "parameters": {"lrr": {"values": [1]}}},
    "negative limit": {"task": TASK, "parameters": VALUES, "max_parallel": -1},
}


async def over_grpc(server: Server, method: str, request: Message) -> Any:
    return await outcome(getattr(SweepServiceStub(server.grpc.channel), method)(request))


async def over_rest(server: Server, method: str, path: str) -> Any:
    reply = await server.rest.ask(method, path)
    return same(reply.json) if reply.status == 200 else refused(reply)


def plain(value: Any) -> Any:
    """Without what two sweeps of one request differ in, and without the zeros and empty lists that
    protobuf's JSON may leave out. Numbers are doubles."""
    if isinstance(value, dict):
        own = ("id", "created_at", "sweep_id")
        shown = {name: plain(each) for name, each in value.items() if name not in own}
        return {name: each for name, each in shown.items() if each not in ([], {})}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


async def test_creates_have_the_same_outcome(parity_server: Server) -> None:
    server = parity_server
    for name, fields in {**GOOD, **BAD}.items():
        for query, more in (("?validate_only=1", {"validate_only": True}), ("", {})):
            reply = await server.rest.submit(fields, f"/v1/sweeps{query}")
            request = ParseDict({**fields, **more}, sweep_pb2.CreateSweepRequest())
            told = await over_grpc(server, "CreateSweep", request)
            if name in GOOD:
                assert reply.status == (200 if query else 201), (name, reply.body)
                assert plain(same(reply.json)) == plain(told), name
            else:
                assert refused(reply) == told, name
    number = sweep_pb2.CreateSweepRequest(task=task_pb2.CreateTaskRequest(job_name="a"))
    number.parameters["lr"].range.extend([0, math.nan])
    assert (await over_grpc(server, "CreateSweep", number)).code == "VALIDATION_ERROR"


async def test_reads_and_changes_are_equal(parity_server: Server) -> None:
    server = parity_server
    made = (await server.rest.submit(GOOD["all fields"], "/v1/sweeps")).json["id"]
    one = sweep_pb2.GetSweepRequest(sweep_id=made)
    await over_rest(server, "POST", f"/v1/sweeps/{made}/cancel")
    for task in (await over_rest(server, "GET", f"/v1/tasks?sweep_id={made}"))["tasks"]:
        await server.ended(task["id"])
    tasks = task_pb2.ListTasksRequest(sweep_id=made, view="FULL", states=["failed"])
    path = f"/v1/tasks?sweep_id={made}&view=full&states=failed"
    listed = await over_rest(server, "GET", path)
    assert await call(server, "ListTasks", tasks) == {
        name: each for name, each in listed.items() if each != 0 or name == "offset"
    }
    assert [(task["sweep_index"], task["parameters"]["lr"]) for task in listed["tasks"]] == [
        (4, "1"),
        (3, "0.75"),
        (2, "0.5"),
        (1, "0.25"),
        (0, "0"),
    ]
    assert await over_rest(server, "GET", f"/v1/sweeps/{made}") == await over_grpc(
        server, "GetSweep", one
    )
    listing = sweep_pb2.ListSweepsRequest(limit=2, offset=0)
    assert await over_rest(server, "GET", "/v1/sweeps?limit=2&offset=0") == await over_grpc(
        server, "ListSweeps", listing
    )
    for verb in ("cancel", "retry"):
        name = f"{verb.capitalize()}Sweep"
        request = getattr(sweep_pb2, f"{name}Request")(sweep_id=made)
        first = await over_rest(server, "POST", f"/v1/sweeps/{made}/{verb}")
        assert first["tasks"] == (5 if verb == "retry" else 0)
        assert (await over_grpc(server, name, request))["tasks"] == 0
        request.sweep_id = "none"
        told = await over_grpc(server, name, request)
        assert await over_rest(server, "POST", f"/v1/sweeps/none/{verb}") == told
    for query, best in (
        ("metric=loss", {"metric": "loss"}),
        ("metric=loss&goal=best", {"metric": "loss", "goal": "best"}),
        ("metric=loss&limit=0", {"metric": "loss", "limit": 0}),
        ("", {}),
    ):
        asked = sweep_pb2.ListBestTasksRequest(sweep_id=made, **best)
        told = await over_grpc(server, "ListBestTasks", asked)
        found = await over_rest(server, "GET", f"/v1/sweeps/{made}/best?{query}")
        assert plain(found) == plain(told), query
    for bad in (-1, 1001):
        refused(await server.rest.get(f"/v1/sweeps?limit={bad}"))
        request = sweep_pb2.ListSweepsRequest(limit=bad)
        assert (await over_grpc(server, "ListSweeps", request)).code == "BAD_REQUEST"
