"""The whole server packs tasks by the GPU memory that their jobs needed."""

from datetime import UTC, datetime

import pytest

from testbed.gpu.stand_in import GpuBox, gpu
from tests.gpu.conftest import Boxed
from tests.gpu.test_server import gpus, until_explained
from tests.support.program import Server, Task
from tests.support.scripts import until_file
from tests.support.waiting import until

pytestmark = pytest.mark.slow

PACKS = {
    "FETCHML_GPU_SLOTS_PER_GPU": "4",
    "FETCHML_GPU_PACKING": "true",
    "FETCHML_SCHEDULING_AHEAD": "false",
}
USED_MB = 30_000
ROOM_MB = 81_559 * 9 // 10 - USED_MB


async def packed_room(server: Server) -> int | None:
    room: int | None = (await gpus(server))[0].get("packing_room_mb")
    return room


@pytest.fixture
async def server(boxed: Boxed, gpu_box: GpuBox) -> Server:
    """It knows the job "job": one task of it has used 30,000 MiB for some seconds."""
    gpu_box.set(gpu(0))
    server = await boxed(**PACKS).start()
    first = await server.submit_running(until_file("go"), gpu=1)
    gpu_box.set(gpu(0, used=USED_MB))
    waits = await server.submit(until_file("go"), gpu=1)
    await until_explained(server, waits, "It waits for 1 GPU without other tasks (0 of 1 free)")
    assert await packed_room(server) == 0
    await until(lambda: readings(server, first), lambda seen: seen >= 9)
    server.tell(first)
    await server.ended(first)
    gpu_box.set(gpu(0))
    await server.running(waits)
    assert await packed_room(server) == ROOM_MB
    server.tell(waits)
    await server.ended(waits)
    return server


async def readings(server: Server, task_id: str) -> float:
    """Readings of a running task, at most: one every two seconds since its start."""
    task = await server.get(task_id)
    ran = datetime.now(UTC) - task.started_at.ToDatetime(UTC)
    return ran.total_seconds() / 2


async def test_tasks_of_a_known_job_share_a_gpu(server: Server) -> None:
    """One server, because it takes the job's first task some seconds to make its need known."""
    await known_tasks_share_a_gpu_also_after_a_restart(server)
    await task_that_runs_out_of_memory_beside_another_is_tried_again(server)


async def known_tasks_share_a_gpu_also_after_a_restart(server: Server) -> None:
    task_ids = [await server.submit(until_file("go"), gpu=1) for _ in range(3)]
    for task_id in task_ids[:2]:
        await server.running(task_id)
    lacks = "its job needed up to 29.3 GiB on a GPU so far, and 0 of 1 GPUs have as much left"
    await until_explained(server, task_ids[2], lacks)
    assert await packed_room(server) == ROOM_MB - USED_MB
    await server.stop()
    await server.start()
    await until_explained(server, task_ids[2], lacks)
    server.tell(task_ids[0])
    await server.running(task_ids[2])
    for task_id in task_ids[1:]:
        server.tell(task_id)
        await server.ended(task_id)


async def task_that_runs_out_of_memory_beside_another_is_tried_again(server: Server) -> None:
    first = await server.submit_running(until_file("go"), gpu=1)
    script = 'if [ "$FETCHML_ATTEMPT" = 1 ]; then echo CUDA out of memory; exit 1; fi'
    second = await server.submit(script, gpu=1)
    more = (USED_MB + 81_559 // 4) / 1024
    await until_explained(server, second, f"its job needed up to {more:.1f} GiB on a GPU so far")
    server.tell(first)
    await server.ended(first)
    task = await server.ended(second)
    assert (task.status, task.attempt, task.retry_count) == (Task.completed, 2, 0), task
    assert (await server.get(second)).infra_retries == 1
    lines = (await server.rest.get("/metrics")).body.decode().splitlines()
    assert "fetchml_gpu_packed_out_of_memory_total 1.0" in lines
    alone = await server.submit("echo CUDA out of memory; exit 1", gpu=1)
    task = await server.ended(alone)
    assert (task.status, task.attempt, task.exit_code) == (Task.failed, 1, 1), task
