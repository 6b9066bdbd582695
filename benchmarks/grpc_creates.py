"""Creates over gRPC: one by one against a bare grpc.aio handler, and in batches."""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, at_least, median
from benchmarks.grpc_load import CALLS_EACH, grpc_load
from benchmarks.processes import KEY, NO_QUOTAS, bare, elsewhere, fetchml, scratch_folder
from fetchml.v1 import task_pb2, task_pb2_grpc

ROUNDS = 5
SECONDS = 1.5
CONNECTIONS = 8
TARGET = 0.46
BATCH = 1_000
BATCHES = 30
BATCH_TARGET = 30_000
"""Tasks a second."""
CREATE = task_pb2.CreateTaskRequest(job_name="bench", args="--epochs 5", cpu=1)
METHOD = "fetchml.v1.TaskService/CreateTask"


def run() -> Benchmark:
    with (
        scratch_folder() as folder,
        fetchml(folder / "data", tasks_max_running="1", **NO_QUOTAS) as ours,
        bare("bare_grpc") as floor,
        elsewhere() as moved,
        Client(ours.http) as client,
        client.blocked_queue(),
    ):
        load = moved(grpc_load)
        call = (METHOD, KEY, CREATE.SerializeToString(), CONNECTIONS)
        for server in (ours, floor):
            load(server.grpc, *call, 0.5)
        loads = [
            (load(ours.grpc, *call, SECONDS), load(floor.grpc, *call, SECONDS))
            for _ in range(ROUNDS)
        ]
        name = f"gRPC creates, {CONNECTIONS * CALLS_EACH} at a time"
        yield at_least(name, "a bare grpc.aio handler", loads, TARGET)
        in_batches = moved(create_batches)
        rates = [in_batches(ours.grpc, BATCH, BATCHES) for _ in range(ROUNDS)]
        rate = median(rates)
        yield Figure(
            f"gRPC creates, batches of {BATCH:,}",
            "",
            f"{rate:,.0f} tasks/s ({min(rates):,.0f} to {max(rates):,.0f})",
            f"≥ {BATCH_TARGET:,}/s",
            rate >= BATCH_TARGET,
        )


def create_batches(address: str, size: int, count: int) -> float:
    """Tasks a second, in `count` batches of `size`. Each batch is one durable commit."""
    return asyncio.run(_create_batches(address, size, count))


async def _create_batches(address: str, size: int, count: int) -> float:
    batch = task_pb2.CreateTasksRequest(tasks=[CREATE] * size)

    async def batches() -> AsyncIterator[task_pb2.CreateTasksRequest]:
        for _ in range(count):
            yield batch

    unlimited = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=unlimited) as channel:
        stub = task_pb2_grpc.TaskServiceStub(channel)
        await channel.channel_ready()
        began = time.perf_counter()
        reply = await stub.CreateTasks(batches(), metadata=[("x-api-key", KEY)])
        took = time.perf_counter() - began
    assert len(reply.tasks) == size * count
    return len(reply.tasks) / took
