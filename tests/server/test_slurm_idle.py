"""A task on a node that leaves its GPU idle: reported, warned and stopped; one that uses its GPU is
left alone. The nodes measure with a stand-in for NVIDIA's library."""

from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from testbed.gpu.stand_in import GpuBox, gpu
from testbed.slurm import Slurm
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import until

pytestmark = pytest.mark.slow

Task = task_pb2.Task
RULE = {
    "FETCHML_GPU_IDLE_START_SECONDS": "0",
    "FETCHML_GPU_IDLE_SECONDS": "5",
    "FETCHML_GPU_IDLE_ACTION": "stop",
    "FETCHML_GPU_IDLE_WARNING_SECONDS": "10",
    "FETCHML_SLURM_ALLOW": "nodelist",
}
"""Use is measured every 10 s: the second report finds the task idle, the third one stops it."""
WAITS = "trap 'echo warned' USR1; trap 'echo ended; exit 7' TERM; while :; do sleep 0.1; done"


async def test_idle_task_on_a_node_is_stopped_and_a_busy_one_is_not(
    serve: Serve, slurm: Slurm, shared: Path, gpu_box: GpuBox
) -> None:
    gpu_box.set(gpu(0, use=2), gpu(1, use=93))
    server = await serve(backend_of(slurm, "rest", shared), **RULE).start()
    env = {"LD_LIBRARY_PATH": str(gpu_box.folder)}
    idle, busy = [
        await server.submit_running(WAITS, gpu=1, env=env, warn_seconds=1, slurm={"nodelist": "g1"})
        for _ in range(2)
    ]
    assert (await server.shown(idle))["gpu_uuids"] == ["g1:0"], "Slurm gives the first one first"
    marked = await until(lambda: server.shown(idle), lambda task: "idle_since" in task)
    assert marked["status"] == "running"
    assert "it is stopped if they stay so for 15 s" in await server.explained(idle)
    ended = await server.ended(idle)
    assert (ended.status, ended.failure_reason) == (Task.failed, Task.IDLE), ended
    assert "its GPUs were idle for" in ended.error
    output = (await server.get(idle)).output.splitlines()
    assert [line for line in output if line in ("warned", "ended")] == ["warned", "ended"]
    other = await server.shown(busy)
    assert (other["status"], "idle_since" in other) == ("running", False)
    await server.rest.ask("DELETE", f"/v1/tasks/{busy}")
    await server.ended(busy)
