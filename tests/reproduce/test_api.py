"""Diffs over REST and gRPC: both return the same, with values that runs logged, and refuse what is
no request."""

import math
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from fetchml.core.model import Principal, RanWith, Role, Status, UsedDataset
from fetchml.core.tracking import Point
from fetchml.v1 import reproduce_pb2, task_pb2
from fetchml.v1.reproduce_pb2_grpc import ReproduceServiceStub
from fetchml.v1.task_pb2_grpc import TaskServiceStub
from tests.support.grpc_world import grpc_world
from tests.support.memory_engine import MemoryEngine
from tests.support.rest_world import rest_world

USER = Principal("user", Role.USER, "key")
RAN_WITH = RanWith(
    1,
    host="é\x1b",
    kernel="6",
    image_id="sha256:1",
    datasets=(UsedDataset("digits", listing="a"),),
    gpus=("H100",),
    cuda="12.4",
)


async def two_tasks(engine: MemoryEngine) -> tuple[str, str]:
    """Two ended tasks that logged another loss, and not a number alike."""
    made = []
    for loss in (0.5, 0.25):
        request = {"job_name": "a", "env": {"SEED": str(loss)}, "command": ["a", "é"]}
        task = await engine.parts.engine.submissions.create_task(USER, request)
        await engine.change(task.id, status=Status.COMPLETED, ended_at=9, ran_with=RAN_WITH)
        run = await engine.parts.tracking.create_run(USER, "0", task_id=task.id)
        points = [Point("loss", loss, 1_000), Point("nan", math.nan, 1_000)]
        await engine.parts.tracking.log(USER, run.id, points)
        made.append(task.id)
    return made[0], made[1]


async def test_both_transports_show_the_same(tmp_path: Path) -> None:
    async with rest_world() as rest, grpc_world(tmp_path) as rpc:
        one, other = await two_tasks(rest.engine)
        found = (await rest.client.get(f"/v1/tasks/{one}/diff/{other}?outputs=1")).json
        sections = {each["name"]: each for each in found.pop("sections")}
        assert sections["results"]["changes"] == [
            {"name": "loss", "before": "0.5", "after": "0.25"}
        ]
        assert [each["name"] for each in sections["parameters"]["changes"]] == ["variable SEED"]
        assert found == {"task_id": one, "other_id": other, "outcome": "different"}

        one, other = await two_tasks(rpc.engine)
        stub = ReproduceServiceStub(rpc.client.channel)
        request = reproduce_pb2.DiffTasksRequest(task_id=one, other_id=other, outputs=True)
        reply = MessageToDict(await stub.DiffTasks(request), preserving_proto_field_name=True)
        assert {each["name"]: {"changes": [], **each} for each in reply["sections"]} == sections

        shown = (
            await rest.client.get(f"/v1/tasks/{(await two_tasks(rest.engine))[0]}?view=full")
        ).json
        get = task_pb2.GetTaskRequest(task_id=one, view=task_pb2.FULL)
        task = await TaskServiceStub(rpc.client.channel).GetTask(get)
        same = MessageToDict(task.ran_with, preserving_proto_field_name=True)
        assert shown["ran_with"] == same


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"parameters": {"a": 1}}, "parameters"),
        ({"parameters": {"": "a"}}, "parameters"),
        ({"parameters": {"a" * 200: "a"}}, "parameters"),
        ({"parameters": {"a": "x" * 2_000}}, "parameters"),
        ({"parameters": {"SEED": "1"}}, "parameters"),
        ({"parameters": []}, "parameters"),
        ({"args": "'"}, "args"),
        ({"args": "a\0"}, "args"),
        ({"args": None}, "args"),
        ({"pinned": 1}, "pinned"),
    ],
)
async def test_invalid_rerun(body: dict[str, Any], field: str) -> None:
    async with rest_world() as rest:
        task_id, _ = await two_tasks(rest.engine)
        before = len(rest.engine.tasks)
        reply = await rest.client.submit(body, f"/v1/tasks/{task_id}/rerun")
        assert reply.status == 422
        assert reply.error.startswith(f"{field}")
        assert len(rest.engine.tasks) == before
