"""A training on a GPU that makes way for a more urgent task, and goes on from its checkpoint."""

import itertools
import re
import sys
from pathlib import Path

import pytest

from testbed.docker_engine import PrivateEngine
from testbed.gpu.cdi import IMAGE
from testbed.gpu.stand_in import GpuBox, gpu, uuid
from tests.gpu.conftest import Boxed
from tests.support.archives import file, packed
from tests.support.program import Server, Task
from tests.support.scripts import until_file
from tests.support.server_fixtures import containers_of
from tests.support.waiting import until

pytestmark = pytest.mark.slow

TRAINING = Path(__file__).parents[2] / "examples/checkpoint/train.py"
STEPS = 150
EVERY = 1000
"""Steps between two checkpoints: more than there are, so that only the warning leads to one."""


async def log_of(server: Server, task_id: str, attempt: int) -> str:
    return (await server.rest.get(f"/v1/tasks/{task_id}/logs?attempt={attempt}")).body.decode()


async def steps_of(server: Server, task_id: str, attempt: int) -> list[int]:
    log = await log_of(server, task_id, attempt)
    return [int(step) for step in re.findall(r"^step (\d+) ", log, re.MULTILINE)]


@pytest.mark.parametrize("launcher", ["process", "docker"])
async def test_preempted_training_goes_on_from_its_checkpoint(
    boxed: Boxed, gpu_box: GpuBox, cdi_engine: PrivateEngine, launcher: str
) -> None:
    gpu_box.set(gpu(0))
    backend = containers_of(cdi_engine, IMAGE) if launcher == "docker" else None
    python = "python3" if launcher == "docker" else sys.executable
    server = await boxed(backend, FETCHML_SCHEDULING_PREEMPTION="true").start()
    code = packed(file("train.py", TRAINING.read_bytes()))
    kept = await server.rest.ask("PUT", "/v1/snapshots", code, Content_Type="application/gzip")

    def training(seconds: float) -> str:
        options = f"--steps {STEPS} --every {EVERY} --seconds {seconds}"
        show = 'echo "on $CUDA_VISIBLE_DEVICES"; env | grep ^GIVEN_'
        return f"{show}; exec {python} train.py {options}"

    shared = {"gpu": 1, "snapshot_id": kept.json["id"]}
    alone = await server.submit(training(0), **shared)
    assert (await server.ended(alone)).status == Task.completed
    yields = await server.submit(
        training(0.05), priority=2, preemptible=True, checkpoint=True, warn_seconds=2, **shared
    )
    await until(lambda: steps_of(server, yields, 1))
    urgent = await server.submit_running(until_file("go"), gpu=1, priority=9)
    await server.until(yields, lambda task: task.preempted == 1)
    server.tell(urgent)
    assert (await server.ended(urgent)).status == Task.completed
    back = await server.ended(yields)
    assert (back.status, back.attempt, back.retry_count) == (Task.completed, 2, 0), back
    assert list(back.gpu_uuids) == [uuid(0)]
    # It was warned, has saved, and began again after the step that it had saved.
    before, after = [await steps_of(server, yields, attempt) for attempt in (1, 2)]
    again = await log_of(server, yields, 2)
    resumed = int(re.findall(r"^resumed at step (\d+)$", again, re.MULTILINE)[0])
    assert 0 < resumed <= before[-1]
    assert after == list(range(resumed + 1, STEPS + 1))
    assert all(step + 1 == following for step, following in itertools.pairwise(before))
    assert len(before) < STEPS
    # And its model is that of a training that nobody interrupts.
    models = [
        (await server.rest.get(f"/v1/tasks/{each}/outputs/model.json")).body
        for each in (alone, yields)
    ]
    assert models[0] == models[1]
    given = "GIVEN_" + uuid(0).replace("-", "_")
    assert (f"{given}=1" if launcher == "docker" else f"on {uuid(0)}") in again
    await server.assert_idle(alone, yields, urgent)
