"""The whole server with shared, partitioned and preempted GPUs."""

from collections import Counter

import pytest

from testbed.docker_engine import PrivateEngine
from testbed.gpu.cdi import GPUS, IMAGE, PARTS
from testbed.gpu.stand_in import GpuBox, gpu, mig, uuid
from tests.gpu.conftest import Boxed
from tests.gpu.test_server import gpus, until_explained
from tests.support.program import Server, Task
from tests.support.scripts import until_file
from tests.support.server_fixtures import containers_of

pytestmark = pytest.mark.slow


async def all_run(server: Server, task_ids: list[str]) -> list[Task]:
    return [await server.running(task_id) for task_id in task_ids]


@pytest.mark.parametrize("placement", ["fill", "spread"])
async def test_two_tasks_share_a_gpu(boxed: Boxed, gpu_box: GpuBox, placement: str) -> None:
    gpu_box.set(gpu(0), gpu(1))
    shared = {"FETCHML_GPU_SLOTS_PER_GPU": "2", "FETCHML_GPU_PLACEMENT": placement}
    server = await boxed(**shared, FETCHML_SCHEDULING_AHEAD="false").start()
    sees = until_file("go") + "echo $CUDA_VISIBLE_DEVICES"
    first, *others = [await server.submit(sees, gpu=1) for _ in range(5)]
    one, two = (each.gpu_uuids[0] for each in await all_run(server, [first, others[0]]))
    assert (one == two) == (placement == "fill")
    await all_run(server, others[:3])
    held = [each.gpu_uuids[0] for each in await all_run(server, [first, *others[:3]])]
    assert Counter(held) == {uuid(0): 2, uuid(1): 2}
    await until_explained(server, others[3], "It waits for 1 GPU (0 of 2 free)")
    await server.kill_and_start()
    await until_explained(server, others[3], "It waits for 1 GPU (0 of 2 free)")
    server.tell(first)
    last = await server.running(others[3])
    assert last.gpu_uuids[0] == held[0], "the place that became free"
    for task_id in others:
        server.tell(task_id)
    for task_id in (first, *others):
        await server.ended(task_id)
        task = await server.get(task_id)
        assert task.output == f"{task.gpu_uuids[0]}\n"
    assert {each["state"] for each in await gpus(server)} == {"free"}


async def test_tasks_run_on_mig_devices(
    boxed: Boxed, gpu_box: GpuBox, cdi_engine: PrivateEngine
) -> None:
    """Each part is a slot; the GPU itself is none any more."""
    last = GPUS - 1
    gpu_box.set(gpu(0), gpu(last, mig=1), *(mig(n, last) for n in range(len(PARTS))))
    server = await boxed(containers_of(cdi_engine, IMAGE)).start()
    script = until_file("go") + "env | grep ^GIVEN_"
    task_ids = [await server.submit(script, gpu=1) for _ in range(3)]
    given = {task.gpu_uuids[0] for task in await all_run(server, task_ids)}
    assert given == {uuid(0), *PARTS}
    for task_id in task_ids:
        server.tell(task_id)
        await server.ended(task_id)
        task = await server.get(task_id)
        assert task.output == f"GIVEN_{task.gpu_uuids[0].replace('-', '_')}=1\n"
    await server.assert_idle(*task_ids)
