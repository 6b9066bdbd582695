"""What only Apptainer's containers on nodes have."""

from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from tests.nodes.conftest import of_program
from tests.nodes.means import Means
from tests.server.test_slurm_doctor import findings
from tests.support.program import Server

pytestmark = pytest.mark.slow

Task = task_pb2.Task
of_all = pytest.mark.parametrize("means", of_program("apptainer"), indirect=True)
of_root = pytest.mark.parametrize("means", of_program("apptainer")[:1], indirect=True)


@of_all
async def test_gpus(server: Server, means: Means) -> None:
    task = await server.ended(await server.submit("echo $CUDA_VISIBLE_DEVICES", gpu=2))
    assert task.status == Task.completed, task
    assert (await server.get(task.id)).output == "0,1\n"


@of_root
async def test_image_that_is_not_to_be_had(server: Server, means: Means, tmp_path: Path) -> None:
    """A missing file ends the task; a registry that is away does not."""
    missing = await server.submit("true", image=f"{tmp_path}/missing.sif")
    task_id = await server.submit("true", image="oras://example.org/train:1")
    again = await server.until(task_id, lambda task: task.attempt == 2)
    assert "oras://example.org" in again.earlier_attempts[0].error, again
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)
    task = await server.ended(missing)
    assert (task.failure_reason, task.attempt) == (Task.PREPARE_FAILED, 1), task
    assert task.error.endswith(f"lstat {tmp_path}/missing.sif: no such file or directory"), task


@of_root
def test_doctor_finds_it(means: Means, tmp_path: Path) -> None:
    variables = dict(means.backend(tmp_path / "shared").variables)
    found = findings(tmp_path, variables, "--probe")
    assert found["probe container"]["says"].startswith("apptainer version ")
