"""TaskService and QueueService over a real connection."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.api.task_json import rfc3339
from fetchml.core.model import FailureReason, Status
from fetchml.v1 import experiment_pb2, queue_pb2, task_pb2
from tests.support.front import EDGE
from tests.support.grpc_world import World, failed_call
from tests.support.stub_services import START_MS


async def create(world: World, **fields: Any) -> task_pb2.Task:
    request = task_pb2.CreateTaskRequest(**{"job_name": "digits"} | fields)
    task: task_pb2.Task = await world.client.tasks.CreateTask(request)
    return task


async def get(world: World, task_id: str, view: task_pb2.View = task_pb2.BASIC) -> task_pb2.Task:
    request = task_pb2.GetTaskRequest(task_id=task_id, view=view)
    task: task_pb2.Task = await world.client.tasks.GetTask(request)
    return task


async def test_create_passes_exactly_the_fields_that_are_set(world: World) -> None:
    await create(
        world,
        priority=7,
        cpu=0,
        args="",
        datasets=["iris"],
        dataset_specs=[task_pb2.DatasetSpec(name="mnist", mount_path="/data/m")],
        metadata={"team": "vision"},
        command=["python", "x.py"],
        env={"SEED": "1"},
        idempotency_key="once",
        view=task_pb2.FULL,
    )
    await create(world)
    assert world.engine.requests == [
        {
            "job_name": "digits",
            "priority": 7,
            "cpu": 0,
            "args": "",
            "datasets": ["iris"],
            "dataset_specs": [{"name": "mnist", "mount_path": "/data/m"}],
            "metadata": {"team": "vision"},
            "command": ["python", "x.py"],
            "env": {"SEED": "1"},
        },
        {"job_name": "digits"},
    ]
    for name in ("datasets", "dataset_specs", "command"):
        assert type(world.engine.requests[0][name]) is list
    for name in ("metadata", "env"):
        assert type(world.engine.requests[0][name]) is dict


async def test_basic_view_holds_only_the_contracts_fields(world: World) -> None:
    task = await create(world, env={"TOKEN": "secret"}, image="me/train:1", max_retries=2)
    assert MessageToDict(task, preserving_proto_field_name=True) == {
        "id": task.id,
        "job_name": "digits",
        "status": "queued",
        "priority": 5,
        "created_at": rfc3339(world.engine.tasks[task.id].created_at),
        "user_id": "user",
        "retry_count": 0,
        "max_retries": 2,
    }


async def test_full_view_shows_all_fields_and_no_secret(world: World) -> None:
    created = await create(world, env={"TOKEN": "secret", "A": "b"}, image="me/train:1", args="-v")
    await world.engine.change(
        created.id,
        status=Status.FAILED,
        attempt=2,
        exit_code=3,
        failure_reason=FailureReason.EXIT_CODE,
    )
    task = await get(world, created.id, task_pb2.FULL)
    assert task.image == "me/train:1"
    assert list(task.command) == ["python", "train.py"]
    assert task.args == "-v"
    assert list(task.env_names) == ["A", "TOKEN"]
    assert (task.attempt, task.exit_code) == (2, 3)
    assert task.failure_reason == task_pb2.Task.EXIT_CODE
    assert b"secret" not in task.SerializeToString()


async def test_only_get_shows_the_output(world: World) -> None:
    task = await create(world)
    assert not (await get(world, task.id)).HasField("output")
    await world.engine.log(task.id, "épo".encode() + b"\xff")
    assert (await get(world, task.id)).output == "épo\ufffd"
    listed = await list_tasks(world)
    assert not listed.tasks[0].HasField("output")


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


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
async def test_invalid_idempotency_key_is_rejected(world: World, key: str) -> None:
    refused = await failed_call(create(world, idempotency_key=key))
    assert refused.reason == "BAD_REQUEST"
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


async def test_list_by_limit_and_offset(world: World) -> None:
    ids = [(await create(world)).id for _ in range(5)]
    page = await list_tasks(world, limit=2, offset=1)
    assert [task.id for task in page.tasks] == [ids[3], ids[2]]
    assert (page.total, page.limit, page.offset) == (5, 2, 1)
    assert not page.HasField("next_page_token")
    assert (await list_tasks(world, limit=0)).total == 5
    assert list((await list_tasks(world, limit=0)).tasks) == []
    assert (await list_tasks(world)).limit == 50


async def test_page_tokens_list_every_task_once_while_others_arrive(world: World) -> None:
    ids = [(await create(world)).id for _ in range(6)]
    page = await list_tasks(world, page_size=2)
    pages = [[task.id for task in page.tasks]]
    while page.HasField("next_page_token"):
        await create(world)
        page = await list_tasks(world, page_size=2, page_token=page.next_page_token)
        pages.append([task.id for task in page.tasks])
    assert pages == [[ids[5], ids[4]], [ids[3], ids[2]], [ids[1], ids[0]]]


async def test_page_token_is_bound_to_its_filters(world: World) -> None:
    for _ in range(3):
        await create(world)
    token = (await list_tasks(world, page_size=1)).next_page_token
    refused = await failed_call(list_tasks(world, page_size=1, page_token=token, user_id="user"))
    assert refused.reason == "BAD_REQUEST"


async def test_list_filters(world: World) -> None:
    made = await world.client.experiments.CreateExperiment(
        experiment_pb2.CreateExperimentRequest(name="x")
    )
    a = (await create(world, job_name="a-1", experiment_id=made.id)).id
    b = (await create(world, job_name="b-1")).id
    await world.engine.change(b, status=Status.PREPARING)

    async def found(**fields: Any) -> list[str]:
        return [task.id for task in (await list_tasks(world, **fields)).tasks]

    assert await found(status="queued") == [a]
    assert await found(states=["preparing", "collecting"]) == [b]
    assert await found(states=["queued", "preparing"], status="queued") == [a]
    assert await found(states=["preparing"], status="queued") == []
    assert await found(job_name_prefix="b") == [b]
    assert await found(experiment_id=made.id) == [a]
    assert await found(user_id="nobody") == []


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


async def test_page_tokens_with_search_filters(world: World) -> None:
    ids = [(await create(world, metadata={"n": str(n)})).id for n in range(3)]
    page = await list_tasks(world, page_size=2, labels=["n"])
    assert [task.id for task in page.tasks] == [ids[2], ids[1]]
    token = page.next_page_token
    page = await list_tasks(world, page_size=2, labels=["n"], page_token=token)
    assert [task.id for task in page.tasks] == [ids[0]]
    for others in ({"labels": ["n=1"]}, {"labels": ["n"], "text": "a"}, {}):
        refused = await failed_call(list_tasks(world, page_size=2, page_token=token, **others))
        assert refused.message.startswith("page_token: belongs to other filters")


@pytest.mark.parametrize(
    "fields",
    [
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
    ],
)
async def test_invalid_list_query_is_rejected(world: World, fields: dict[str, object]) -> None:
    refused = await failed_call(list_tasks(world, **fields))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST")
    assert refused.message.startswith((next(iter(fields)), "Use limit"))


async def test_cancel_delete_explain_outputs_and_queue(world: World) -> None:
    task = await create(world, gpu=1)
    tasks = world.client.tasks
    world.engine.explain()
    explained = await tasks.ExplainTask(task_pb2.ExplainTaskRequest(task_id=task.id))
    assert MessageToDict(explained, preserving_proto_field_name=True) == {
        "task_id": task.id,
        "status": "queued",
        "reason": "waits for a GPU",
        "position": 1,
        "missing": [
            {
                "resource": "gpu",
                "requested": 1,
                "free": 0,
                "total": 8,
                "blocked": ["GPU 3: busy: python3 (pid 4711, 2.1 GiB)"],
            }
        ],
        "estimate": {
            "p50": "2025-10-09T08:54:20Z",
            "p90": "2025-10-09T09:03:20Z",
            "checked": 10,
            "held_p50_percent": 50,
            "held_p90_percent": 90,
        },
    }
    world.engine.outputs(task.id, {"model/w.bin": b"abc"})
    listed = await tasks.ListTaskOutputs(task_pb2.ListTaskOutputsRequest(task_id=task.id))
    assert [(o.path, o.size_bytes) for o in listed.outputs] == [("model/w.bin", 3)]
    assert listed.outputs[0].modified_at.ToMilliseconds() == START_MS
    cancelled = await tasks.CancelTask(
        task_pb2.CancelTaskRequest(task_id=task.id, view=task_pb2.FULL)
    )
    assert cancelled.failure_reason == task_pb2.Task.CANCELLED
    assert cancelled.cancel_requested_by == "user"
    stats = await world.client.queue.GetQueue(queue_pb2.GetQueueRequest())
    assert MessageToDict(stats) == {
        "queued": 0,
        "running": 0,
        "completed": 0,
        "failed": 1,
        "workers": 1,
    }
    await world.engine.cancelled_long_ago(task.id)
    await tasks.DeleteTask(task_pb2.DeleteTaskRequest(task_id=task.id))
    refused = await failed_call(get(world, task.id))
    assert refused.reason == "NOT_FOUND"
