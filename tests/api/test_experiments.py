"""Experiments over REST and gRPC, on real sockets."""

from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from fetchml.api.mappings import EXPERIMENT
from fetchml.core.model import Role, Status
from fetchml.core.requests.experiment import Experiment, ExperimentStatus
from fetchml.engine.experiments import ExperimentCounts, ExperimentView
from fetchml.v1 import experiment_pb2, task_pb2
from tests.support import grpc_world, rest_world
from tests.support.grpc_world import failed_call
from tests.support.memory_store import nothing_stored

PATH = "/v1/experiments"
KNOWN_SNAPSHOT = "5" * 64
FULL = {"name": "a", "description": "what it is about", "commit_id": KNOWN_SNAPSHOT}


async def create(rest: rest_world.World, body: object) -> Any:
    reply = await rest.client.submit(body, PATH)
    assert reply.status == 201
    return reply.json


async def test_create_list_get_archive_delete(rest: rest_world.World) -> None:
    await rest.engine.add_snapshot(KNOWN_SNAPSHOT)
    first = await create(rest, {"name": "first"})
    second = await create(rest, FULL)
    assert first.keys() == {"id", "name", "created_at", "status"}
    assert second == {**first, **second, "name": "a", "commit_id": KNOWN_SNAPSHOT}
    assert (await rest.client.get(PATH)).json == [second, first]
    one = f"{PATH}/{second['id']}"
    assert (await rest.client.get(one)).json == second
    archived = await rest.client.ask("POST", f"{one}/archive")
    assert archived.json == {**second, "status": "archived"}
    assert (await rest.client.get(one)).json == archived.json
    assert (await rest.client.ask("DELETE", one)).status == 204
    assert (await rest.client.ask("DELETE", one)).status == 404
    assert (await rest.client.get(one)).status == 404
    assert (await rest.client.ask("POST", f"{one}/archive")).status == 404
    assert (await rest.client.get(PATH)).json == [first]


async def test_full_view_adds_fields(rest: rest_world.World) -> None:
    await rest.engine.add_snapshot(KNOWN_SNAPSHOT)
    reply = await rest.client.submit(FULL, f"{PATH}?view=full")
    full = reply.json
    assert (full["description"], full["user_id"]) == ("what it is about", "user")
    assert full["counts"] == dict.fromkeys(Status, 0)
    assert (await rest.client.get(f"{PATH}?view=full")).json == [full]
    one = f"{PATH}/{full['id']}"
    assert (await rest.client.get(f"{one}?view=full")).json == full
    assert (await rest.client.ask("POST", f"{one}/archive?view=full")).json["user_id"] == "user"
    assert (await rest.client.get(f"{PATH}?view=more")).status == 400


async def test_invalid_requests_are_rejected(rest: rest_world.World) -> None:
    for body, message in (
        ({}, "name: is required"),
        ({"name": "x" * 129}, "name: must not be longer than 128 characters"),
        ({"name": "a", "description": None}, "description: must not be null: leave it out"),
        ({"name": "a", "commit_id": "unknown"}, "commit_id: no such snapshot"),
    ):
        reply = await rest.client.submit(body, PATH)
        assert (reply.status, reply.code, reply.error) == (422, "VALIDATION_ERROR", message)
    assert (await rest.client.ask("POST", PATH, b"{", **rest_world.JSON)).status == 400
    viewer = rest.as_(rest.secrets[Role.VIEWER])
    assert (await viewer.submit({"name": "a"}, PATH)).status == 403
    assert (await rest.as_(None).get(PATH)).status == 401
    assert (await rest.client.get(PATH)).json == []


async def test_ignored_fields_are_listed(rest: rest_world.World) -> None:
    reply = await rest.client.submit({"name": "a", "nmae": "b"}, f"{PATH}?x=1")
    assert reply.headers["X-FetchML-Ignored"] == "x, nmae"


async def test_experiments_over_grpc(world: grpc_world.World) -> None:
    await world.engine.add_snapshot(KNOWN_SNAPSHOT)
    stub = world.client.experiments
    request = experiment_pb2.CreateExperimentRequest(**FULL, view=task_pb2.FULL)
    made = await stub.CreateExperiment(request)
    assert (made.description, made.user_id) == (FULL["description"], "user")
    assert made.commit_id == KNOWN_SNAPSHOT
    by_id = {"experiment_id": made.id}
    basic = await stub.GetExperiment(experiment_pb2.GetExperimentRequest(**by_id))
    assert not basic.HasField("description")
    assert not basic.HasField("user_id")
    listed = await stub.ListExperiments(experiment_pb2.ListExperimentsRequest(view=task_pb2.FULL))
    assert list(listed.experiments) == [made]
    archived = await stub.ArchiveExperiment(
        experiment_pb2.ArchiveExperimentRequest(**by_id, view=task_pb2.FULL)
    )
    made.status = experiment_pb2.Experiment.archived
    assert archived == made
    await stub.DeleteExperiment(experiment_pb2.DeleteExperimentRequest(**by_id))
    refused = await failed_call(stub.GetExperiment(experiment_pb2.GetExperimentRequest(**by_id)))
    assert refused.reason == "NOT_FOUND"
    refused = await failed_call(
        stub.CreateExperiment(experiment_pb2.CreateExperimentRequest(name=""))
    )
    assert refused.violations == [("name", "must not be empty")]


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize("full", [False, True])
@given(
    experiment=st.builds(
        Experiment,
        id=texts,
        user=texts,
        name=texts,
        created_at=st.integers(1, 253_402_300_799_999).filter(lambda ms: ms % 1000),
        description=st.none() | texts,
        commit_id=st.none() | texts,
        status=st.sampled_from(ExperimentStatus),
    )
)
def test_rest_and_grpc_show_the_same_experiment(full: bool, experiment: Experiment) -> None:
    view = ExperimentView(experiment, ExperimentCounts(nothing_stored(), bool), user=None)
    message = EXPERIMENT.message(view, full=full)
    body = msgspec.json.encode(EXPERIMENT.json(view, full=full))
    assert MessageToDict(message, preserving_proto_field_name=True) == msgspec.json.decode(body)


async def test_task_output_downloads_over_grpc(world: grpc_world.World) -> None:
    stub = world.client.tasks
    task = await stub.CreateTask(task_pb2.CreateTaskRequest(job_name="a"))
    content = bytes(range(256)) * 3_000
    world.engine.outputs(task.id, {"a/b.bin": content, "empty": b""})

    async def download(path: str) -> list[bytes]:
        request = task_pb2.DownloadTaskOutputRequest(task_id=task.id, path=path)
        chunks = [chunk async for chunk in stub.DownloadTaskOutput(request)]
        assert chunks[0].etag, "the first chunk describes the file"
        return [chunk.data for chunk in chunks[1:]]

    pieces = await download("a/b.bin")
    assert len(pieces) > 1
    assert b"".join(pieces) == content
    assert await download("empty") == []
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await download("none")
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
