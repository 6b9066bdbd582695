"""What only Pyxis' containers on nodes have: they are steps of their jobs."""

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from fetchml.v1 import task_pb2
from tests.nodes.means import Means
from tests.nodes.test_tasks import test_ends_are_told_apart as ends_are_told_apart
from tests.server.test_slurm_arrays import submit_sweep, tasks_of
from tests.server.test_slurm_doctor import findings
from tests.support.program import Server
from tests.support.waiting import eventually

Task = task_pb2.Task
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("means", ["pyxis"], indirect=True)]


@pytest_asyncio.fixture(loop_scope="session")
async def server_over_commands(means: Means, tmp_path: Path) -> AsyncIterator[Server]:
    server = means.server(tmp_path, "cli")
    yield await server.start()
    await server.close()


async def test_ends_over_commands(server_over_commands: Server, means: Means) -> None:
    await ends_are_told_apart(server_over_commands, means)


async def test_variables_are_those_of_the_image_and_the_task(server: Server) -> None:
    task = await server.ended(await server.submit("export -p", gpu=1, env={"SLURM_OWN": "1"}))
    assert task.status == Task.completed, task
    lines = (await server.get(task.id)).output.splitlines()
    names = {line.removeprefix("export ").partition("=")[0] for line in lines}
    assert {"OF_IMAGE", "PATH", "HOME", "CUDA_VISIBLE_DEVICES", "FETCHML_TASK_ID"} <= names
    of_slurm = {name for name in names if name.lstrip("_").startswith(("SLURM", "SRUN", "PMI"))}
    assert of_slurm == {"SLURM_OWN"}
    assert not any(name.endswith("_slurm_args") for name in names)


async def test_tasks_of_an_array_have_their_own_mounts(server: Server) -> None:
    sweep_id = await submit_sweep(server, 'echo "$FETCHML_SWEEP_INDEX" >"$FETCHML_OUTPUTS/index"')
    for index, task_id in enumerate(reversed(await tasks_of(server, sweep_id))):
        assert (await server.ended(task_id)).status == Task.completed
        reply = await server.rest.get(f"/v1/tasks/{task_id}/outputs/index")
        assert int(reply.body) == index


async def test_image_that_is_missing(server: Server, tmp_path: Path) -> None:
    task_id = await server.submit("true", image=f"{tmp_path}/missing.sqsh")
    task = await server.ended(task_id)
    assert (task.failure_reason, task.attempt) == (Task.PREPARE_FAILED, 1), task
    assert "[ERROR] No such file or directory" in task.error, task
    assert "missing.sqsh" in task.error, task


def test_doctor_finds_the_plugin(means: Means, tmp_path: Path) -> None:
    variables = dict(means.backend(tmp_path / "shared").variables)
    found = findings(tmp_path, variables, "--probe")
    assert found["probe container"]["ok"], found
    assert found["probe container"]["says"].startswith("Pyxis, enroot")


def shim_of(attempt: Path) -> Path:
    """The folder in `/proc` of the process that has claimed it."""
    (pid,) = re.findall(r"^pid=([0-9]+)$", (attempt / "run/claim").read_text(), re.MULTILINE)
    process = Path("/proc", pid)
    assert (process / "comm").read_text() == "shim\n"
    return process


def sruns(task_id: str) -> list[int]:
    """The processes of srun that started a task's container."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0] == b"srun" and any(task_id.encode() in word for word in words):
                found.append(int(process.name))
    assert found
    return found


async def test_container_ends_with_its_job(server: Server) -> None:
    task_id = await server.submit_running("sleep 600")
    shim = shim_of(server.attempt_folder(task_id))
    for pid in sruns(task_id):
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not shim.exists())
    again = await server.until(task_id, lambda task: task.attempt == 2)
    # Slurm may end the step before the job, by a SIGTERM that the shim records.
    assert again.earlier_attempts[0].failure_reason == Task.LOST, again
    # The real one may leave the files of such a container, whose removal Slurm ends too.
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)
