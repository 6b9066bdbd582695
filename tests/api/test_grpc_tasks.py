"""TaskService and QueueService over a real connection."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.core.model import Status
from fetchml.v1 import task_pb2
from tests.support.front import EDGE
from tests.support.grpc_world import World, failed_call


async def create(world: World, **fields: Any) -> task_pb2.Task:
    request = task_pb2.CreateTaskRequest(**{"job_name": "digits"} | fields)
    task: task_pb2.Task = await world.client.tasks.CreateTask(request)
    return task


async def test_idempotency_key_may_be_a_field_or_metadata(world: World) -> None:
    first = await create(world, idempotency_key="k1")
    request = task_pb2.CreateTaskRequest(job_name="digits")
    again = await world.client.tasks.CreateTask(
        request, metadata=(*world.client.metadata, ("idempotency-key", "k1"))
    )
    assert again.id == first.id
    request.idempotency_key = "k2"
    refused = await failed_call(
        world.client.tasks.CreateTask(
            request, metadata=(*world.client.metadata, ("idempotency-key", "k1"))
        )
    )
    assert refused.reason == "BAD_REQUEST"


async def test_validate_only_is_not_for_batches(world: World) -> None:
    request = task_pb2.CreateTaskRequest(job_name="a", validate_only=True)
    batch = task_pb2.CreateTasksRequest(tasks=[task_pb2.CreateTaskRequest(job_name="b"), request])
    refused = await failed_call(world.client.tasks.CreateTasks(iter([batch])))
    assert refused.violations == [("tasks.validate_only", "is only for CreateTask")]
    assert world.engine.tasks == {}


async def batches(*sizes: int) -> AsyncIterator[task_pb2.CreateTasksRequest]:
    for size in sizes:
        one = task_pb2.CreateTaskRequest(job_name=f"of-{size}")
        yield task_pb2.CreateTasksRequest(tasks=[one] * size)


@pytest.mark.fronts(EDGE)
async def test_batches_are_answered_in_order(world: World) -> None:
    reply = await world.client.tasks.CreateTasks(batches(2, 3))
    assert [task.job_name for task in reply.tasks] == ["of-2"] * 2 + ["of-3"] * 3
    assert [task.id for task in reply.tasks] == list(world.engine.tasks)


async def test_rejected_batch_names_its_task_and_keeps_earlier_batches(world: World) -> None:
    async def requests() -> AsyncIterator[task_pb2.CreateTasksRequest]:
        yield task_pb2.CreateTasksRequest(tasks=[task_pb2.CreateTaskRequest(job_name="good")])
        names = ("good", "no good")
        yield task_pb2.CreateTasksRequest(
            tasks=[task_pb2.CreateTaskRequest(job_name=name) for name in names]
        )

    refused = await failed_call(world.client.tasks.CreateTasks(requests()))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "VALIDATION_ERROR",
    )
    assert [field for field, _ in refused.violations] == ["tasks[1].job_name"]
    assert len(world.engine.tasks) == 1


@pytest.mark.parametrize("sizes", [(0,), (10_001,)])
async def test_batch_holds_1_to_10000_tasks(world: World, sizes: tuple[int, ...]) -> None:
    refused = await failed_call(world.client.tasks.CreateTasks(batches(*sizes)))
    assert refused.violations[0][0] == "tasks"
    assert world.engine.tasks == {}


async def test_tasks_of_a_batch_have_their_own_idempotency_keys(world: World) -> None:
    async def requests() -> AsyncIterator[task_pb2.CreateTasksRequest]:
        named = task_pb2.CreateTaskRequest(job_name="digits", idempotency_key="k")
        yield task_pb2.CreateTasksRequest(tasks=[named, task_pb2.CreateTaskRequest(job_name="a")])

    await world.client.tasks.CreateTasks(requests())
    assert world.engine.batch_keys == [["k", None]]


async def list_tasks(world: World, **fields: Any) -> task_pb2.TaskList:
    request = task_pb2.ListTasksRequest(**fields)
    page: task_pb2.TaskList = await world.client.tasks.ListTasks(request)
    return page


async def test_search_filters(world: World) -> None:
    """By text, labels, time and id, alone and together."""
    labels = {"lr": "0.1", '$."a=': "x"}
    a = await create(world, command=["python", "train.py"], args="--lr 0.1", metadata=labels)
    b = await create(world, job_name="Other", metadata={"lr": ""})
    await world.engine.change(b.id, status=Status.FAILED, error="exit code 3")

    async def found(**fields: Any) -> set[str]:
        page = await list_tasks(world, **fields)
        assert page.total == len(page.tasks)
        return {task.id for task in page.tasks}

    both = {a.id, b.id}
    assert await found(text="TRAIN.py") == both, "the default command names it too"
    assert await found(text="python train.py") == both
    assert await found(text="--LR") == {a.id}
    assert await found(text="exit code") == {b.id}
    assert await found(text="other") == {b.id}
    assert await found(text=a.id[-12:]) == {a.id}
    assert await found(text="%") == await found(text="'; drop table tasks; --") == set()
    assert await found(labels=["lr"]) == both
    assert await found(labels=["lr="]) == {b.id}
    assert await found(labels=["lr=0.1", '$."a'], text="lr") == set(), "the first = ends the key"
    assert await found(labels=["lr=0.1"], text="lr") == {a.id}
    assert await found(labels=["x"]) == set()
    assert await found(id_suffix=b.id[-8:]) == {b.id}
    assert await found(created_after=a.created_at) == both
    assert await found(created_before=a.created_at) == set()
    assert await found(text="train", states=["failed"], user_id="user") == {b.id}


async def test_invalid_list_query_is_rejected(world: World) -> None:
    cases: list[dict[str, object]] = [
        {"status": "preparing"},
        {"status": 0},
        {"status": 99},
        {"states": [0]},
        {"states": [99]},
        {"limit": -1},
        {"limit": 1001},
        {"offset": -1},
        {"page_size": -1},
        {"page_size": 1001},
        {"page_size": 1, "limit": 1},
        {"text": "x" * 257},
        {"text": "a\0"},
        {"labels": [""]},
        {"labels": ["=a"]},
        {"labels": ["a" * 1025]},
        {"labels": ["a"] * 17},
        {"id_suffix": "abc"},
        {"id_suffix": "ABCD"},
        {"id_suffix": "a" * 37},
        {"id_suffix": "%%%%"},
        {"created_after": Timestamp(seconds=-1)},
        {"created_before": Timestamp(seconds=2**62)},
        {"page_token": "!"},
        {"page_token": "AAAA"},
        {"page_token": "é"},
        {"view": 9},
    ]
    for fields in cases:
        refused = await failed_call(list_tasks(world, **fields))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST")
        assert refused.message.startswith((next(iter(fields)), "Use limit"))
