"""REST and gRPC give the same outcome to the same request, and a refused one changes nothing."""

from typing import Any
from urllib.parse import quote

import pytest
from google.protobuf.json_format import ParseDict

from fetchml.core.model import Status
from fetchml.v1 import experiment_pb2, queue_pb2, task_pb2
from tests.server.parity import (
    Outcome,
    as_json,
    both_create,
    call,
    nothing_changes,
    outcome,
    refused,
    same,
    stream,
    without_own,
)
from tests.server.parity_cases import (
    BAD,
    BLOCKED,
    GOOD,
    LARGEST,
    ONLY_REST,
    UNKNOWN_IDS,
)
from tests.support.front import EDGE
from tests.support.grpc_world import failed_call
from tests.support.program import Backend, Server, Task
from tests.support.rest_world import JSON
from tests.support.server_fixtures import Serve
from tests.support.waiting import soon


async def test_valid_requests_have_the_same_outcome(parity_server: Server) -> None:
    server = parity_server
    experiment = (await server.rest.ask("POST", "/v1/experiments", b'{"name":"e"}', **JSON)).json
    in_experiment = {**GOOD["everything"], "experiment_id": experiment["id"]}
    for name, fields in {**GOOD, "in an experiment": in_experiment}.items():
        for view in ("BASIC", "FULL"):
            over_rest, over_grpc = await both_create(server, fields, view)
            assert isinstance(over_rest, dict), (name, over_rest)
            assert without_own(over_rest) == without_own(over_grpc), name


async def test_invalid_requests_have_the_same_error(parity_server: Server) -> None:
    server = parity_server
    async with nothing_changes(server):
        for name, fields in BAD.items():
            over_rest, over_grpc = await both_create(server, fields)
            assert isinstance(over_rest, Outcome), name
            clipped = over_rest.message if len(over_rest.message) < 900 else over_grpc.message
            assert over_grpc == over_rest._replace(message=clipped), name
            assert over_rest.code == "VALIDATION_ERROR", name
            field = over_rest.message.partition(":")[0]
            assert field in task_pb2.CreateTaskRequest.DESCRIPTOR.fields_by_name, name
        for name, (body, code) in ONLY_REST.items():
            reply = await server.rest.ask("POST", "/v1/tasks", body, **JSON)
            assert refused(reply).code == code, name
        create = server.grpc.channel.unary_unary("/fetchml.v1.TaskService/CreateTask")
        for data in (b"\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe", b"\x10\xff\xff"):
            failed = await failed_call(soon(create(data)))
            assert failed.reason == "BAD_REQUEST", data


async def test_unknown_task_has_the_same_error(parity_server: Server) -> None:
    server = parity_server
    live = (await server.rest.get("/v1/tasks")).json["tasks"][0]["id"]
    async with nothing_changes(server):
        for task_id in [*UNKNOWN_IDS, live.upper(), live + "\n", live[:-1]]:
            path = f"/v1/tasks/{quote(task_id, safe='')}"
            get = task_pb2.GetTaskRequest(task_id=task_id)
            expected = await call(server, "GetTask", get)
            assert expected.code == "NOT_FOUND"
            delete = task_pb2.DeleteTaskRequest(task_id=task_id)
            explain = task_pb2.ExplainTaskRequest(task_id=task_id)
            outputs = task_pb2.ListTaskOutputsRequest(task_id=task_id)
            cancel = task_pb2.CancelTaskRequest(task_id=task_id)
            update = task_pb2.UpdateTaskRequest(task_id=task_id, priority=1)
            retry = task_pb2.RetryTaskRequest(task_id=task_id)
            logs = task_pb2.StreamTaskLogsRequest(task_id=task_id)
            info = task_pb2.GetTaskLogInfoRequest(task_id=task_id)
            search = task_pb2.SearchTaskLogsRequest(task_id=task_id, q="a")
            outcomes = [
                refused(await server.rest.get(path)),
                refused(await server.rest.ask("DELETE", path)),
                refused(await server.rest.ask("PATCH", path, b'{"priority":1}', **JSON)),
                refused(await server.rest.ask("POST", f"{path}/retry")),
                refused(await server.rest.ask("POST", f"{path}/cancel")),
                refused(await server.rest.get(f"{path}/explain")),
                refused(await server.rest.get(f"{path}/outputs")),
                refused(await server.rest.get(f"{path}/logs")),
                refused(await server.rest.get(f"{path}/logs/info")),
                refused(await server.rest.get(f"{path}/logs/search?q=a")),
                await call(server, "DeleteTask", delete),
                await call(server, "UpdateTask", update),
                await call(server, "RetryTask", retry),
                await call(server, "ExplainTask", explain),
                await call(server, "ListTaskOutputs", outputs),
                await call(server, "CancelTask", cancel),
                await stream(server, "StreamTaskLogs", logs),
                await call(server, "GetTaskLogInfo", info),
                await call(server, "SearchTaskLogs", search),
            ]
            assert set(outcomes) == {expected}, task_id


async def test_lists_and_queue_are_equal(parity_server: Server) -> None:
    server = parity_server
    made = await server.rest.submit({"name": "a"}, "/v1/experiments")
    in_it = {"experiment_id": made.json["id"]}
    ids = [await server.submit("true", **fields) for fields in ({}, in_it, {}, in_it, {})]
    await server.rest.ask("DELETE", f"/v1/tasks/{ids[2]}")
    sweep = {"task": {"job_name": "a", "hold": True}, "parameters": {"lr": {"range": [1, 3]}}}
    await server.rest.submit(sweep, "/v1/sweeps")
    requests: list[tuple[str, dict[str, Any]]] = [
        ("", {}),
        ("limit=0", {"limit": 0}),
        ("limit=2&offset=1", {"limit": 2, "offset": 1}),
        ("offset=1000", {"offset": 1000}),
        (f"offset={LARGEST}", {"offset": LARGEST}),
        ("status=queued", {"status": "queued"}),
        ("status=running&view=full", {"status": "running", "view": "FULL"}),
        ("status=completed", {"status": "completed"}),
        ("status=failed&view=full", {"status": "failed", "view": "FULL"}),
        ("states=queued,failed", {"states": ["queued", "failed"]}),
        ("text=CANCELLED&user_id=nobody", {"text": "CANCELLED", "user_id": "nobody"}),
        (f"id_suffix={ids[0]}", {"id_suffix": ids[0]}),
        ("fold_sweeps=true&limit=3", {"fold_sweeps": True, "limit": 3}),
        ("fold_experiments=true", {"fold_experiments": True}),
        (
            f"fold_experiments=true&experiment_id={made.json['id']}",
            {"fold_experiments": True, **in_it},
        ),
        ("page_size=2&states=queued", {"page_size": 2, "states": ["queued"]}),
    ]
    for query, fields in requests:
        over_grpc = await call(server, "ListTasks", task_pb2.ListTasksRequest(**fields))
        over_rest = (await server.rest.get(f"/v1/tasks?{query}")).json
        assert same(over_rest) == {"tasks": [], **over_grpc}, query
    experiment_id = made.json["id"]
    request = experiment_pb2.GetExperimentRequest(experiment_id=experiment_id, view=task_pb2.FULL)
    over_grpc = await outcome(server.grpc.experiments.GetExperiment(request))
    assert over_grpc["counts"] == {status.value: 2 * (status is Status.QUEUED) for status in Status}
    path = f"/v1/experiments/{experiment_id}?view=full"
    assert (await server.rest.get(path)).json == over_grpc
    stats = await server.grpc.queue.GetQueue(queue_pb2.GetQueueRequest())
    over_rest = (await server.rest.get("/v1/queue")).json
    assert as_json(stats) == over_rest
    assert over_rest == {"queued": 7, "running": 1, "completed": 0, "failed": 1, "workers": 1}


@pytest.mark.fronts(EDGE)
async def test_task_is_equal_over_both_transports(serve: Serve, processes_backend: Backend) -> None:
    """While it waits, runs, when it has ended, and when it is gone."""
    # A prestaged task waits for something else from one question to the next.
    server = await serve(processes_backend, **BLOCKED, FETCHML_SCHEDULING_AHEAD="false").start()
    blocker = await server.submit_running("until [ -e go ]; do sleep 0.02; done")
    script = 'echo hello; echo x > "$FETCHML_OUTPUTS/x"; until [ -e go ]; do sleep 0.02; done'
    task_id = await server.submit(script + "; exit 3", args="'a b'", metadata={"a": "b"})
    await assert_same(server, task_id)
    server.tell(blocker)
    await server.running(task_id)
    await assert_same(server, task_id)
    server.tell(task_id)
    task = await server.ended(task_id)
    assert task.status == Task.failed
    await assert_same(server, task_id)
    deleted = await call(server, "DeleteTask", task_pb2.DeleteTaskRequest(task_id=task_id))
    assert deleted == {}
    gone = refused(await server.rest.get(f"/v1/tasks/{task_id}"))
    assert gone.code == "NOT_FOUND"
    assert gone == await call(server, "GetTask", task_pb2.GetTaskRequest(task_id=task_id))


def numbers_as_text(body: Any) -> Any:
    """JSON of REST as that of gRPC, where numbers of 64 bits are text."""
    if isinstance(body, dict):
        return {
            name: str(value)
            if name in ("offset", "end", "line_offset", "next_offset")
            else numbers_as_text(value)
            for name, value in body.items()
        }
    return [numbers_as_text(each) for each in body] if isinstance(body, list) else body


async def assert_same(server: Server, task_id: str) -> None:
    for view in ("BASIC", "FULL"):
        over_rest = (await server.rest.get(f"/v1/tasks/{task_id}?view={view}")).json
        request = task_pb2.GetTaskRequest(task_id=task_id, view=view)
        assert same(over_rest) == await call(server, "GetTask", request)
    over_rest = (await server.rest.get(f"/v1/tasks/{task_id}/explain")).json
    explain = task_pb2.ExplainTaskRequest(task_id=task_id)
    assert same(over_rest) == await call(server, "ExplainTask", explain)
    over_rest = (await server.rest.get(f"/v1/tasks/{task_id}/logs/info")).json
    over_grpc = await call(
        server, "GetTaskLogInfo", task_pb2.GetTaskLogInfoRequest(task_id=task_id)
    )
    assert numbers_as_text(over_rest) == {"times": [], **over_grpc}
    over_rest = (await server.rest.get(f"/v1/tasks/{task_id}/logs/search?q=hello")).json
    search = task_pb2.SearchTaskLogsRequest(task_id=task_id, q="hello")
    over_grpc = await call(server, "SearchTaskLogs", search)
    assert numbers_as_text(over_rest) == {"matches": [], **over_grpc}
    over_rest = (await server.rest.get(f"/v1/tasks/{task_id}/outputs")).json
    over_grpc = await call(
        server, "ListTaskOutputs", task_pb2.ListTaskOutputsRequest(task_id=task_id)
    )
    sizes = [{**output, "size_bytes": str(output["size_bytes"])} for output in over_rest["outputs"]]
    assert same(sizes) == over_grpc.get("outputs", [])


async def test_idempotency_key_spans_both_transports(parity_server: Server) -> None:
    server = parity_server
    fields = GOOD["everything"]
    first = (await server.rest.submit(fields, Idempotency_Key="k")).json
    request = ParseDict({**fields, "idempotency_key": "k"}, task_pb2.CreateTaskRequest())
    async with nothing_changes(server):
        assert await call(server, "CreateTask", request) == same(first)
        other = {**fields, "priority": 9}
        over_rest = refused(await server.rest.submit(other, Idempotency_Key="k"))
        request.priority = 9
        assert await call(server, "CreateTask", request) == over_rest
        assert over_rest.code == "VALIDATION_ERROR"
        for key in ("", "a b", "é", "x" * 256):
            request.idempotency_key = key
            over_grpc = await call(server, "CreateTask", request)
            assert over_grpc.code == "BAD_REQUEST", key
            if key.isascii():
                over_rest = refused(await server.rest.submit(other, Idempotency_Key=key))
                assert over_rest.code == "BAD_REQUEST", key
