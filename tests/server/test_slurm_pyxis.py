"""Tasks of a cluster in containers of Pyxis, a plugin of Slurm: of a stand-in, or the real one."""

import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from testbed.account import account
from testbed.pyxis.plugin import containers_left, nodes_with_pyxis
from testbed.slurm import Slurm
from tests.server import test_slurm_containers as of_podman
from tests.server.test_slurm_arrays import submit_sweep, tasks_of
from tests.server.test_slurm_containers import Containers, none_left, squash_image
from tests.server.test_slurm_containers import test_secrets as test_of_secrets
from tests.server.test_slurm_containers import (
    test_server_restarts_beside_a_container as test_restart,
)
from tests.server.test_slurm_doctor import findings
from tests.server.test_slurm_rootless import server_of, write_token
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually

__all__ = ["test_of_secrets", "test_restart"]

Task = task_pb2.Task


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with nodes_with_pyxis() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squash_image(tmp_path_factory.mktemp("image"), "image.sqsh")


@pytest.fixture
def containers() -> Containers:
    return lambda task_id: containers_left()


@pytest.fixture
async def server(
    request: pytest.FixtureRequest, serve: Serve, slurm: Slurm, tmp_path: Path, image: Path
) -> Server:
    """By slurmrestd where the test names no transport."""
    backend = backend_of(slurm, getattr(request, "param", "rest"), tmp_path / "shared")
    variables = {"FETCHML_SLURM_CONTAINER": "pyxis", "FETCHML_TASKS_IMAGE": str(image)}
    return await serve(backend, **variables).start()


over_both = pytest.mark.parametrize("server", ["rest", "cli"], indirect=True)


@over_both
async def test_ends(server: Server, containers: Containers) -> None:
    await of_podman.test_ends_are_told_apart(server, containers)


async def test_task_runs_in_its_image(server: Server, containers: Containers) -> None:
    await of_podman.test_task_runs_in_its_image(server, containers)


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
    again = await server.until(task_id, lambda task: task.attempt == 2)
    assert "missing.sqsh" in again.earlier_attempts[0].error, again
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)


@pytest.fixture
async def server_of_an_account(slurm: Slurm, image: Path) -> AsyncIterator[tuple[Server, int]]:
    with account() as owner:
        write_token(owner, slurm)
        own = owner.folder / "image.sqsh"
        shutil.copy(image, own)
        server = server_of(owner, slurm, owner.make_folder("server"), "pyxis", str(own))
        yield await server.start(), owner.uid
        await server.close()


async def test_account_that_is_not_root(
    server_of_an_account: tuple[Server, int], containers: Containers
) -> None:
    server, uid = server_of_an_account
    await of_podman.assert_runs_in_its_image(server, containers, uid)
    await of_podman.test_ends_are_told_apart(server, containers)


def test_doctor_finds_the_plugin(slurm: Slurm, image: Path, tmp_path: Path) -> None:
    variables = dict(backend_of(slurm, "rest", tmp_path / "shared").variables)
    found = findings(tmp_path, variables | {"FETCHML_SLURM_CONTAINER": "pyxis"}, "--probe")
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


async def test_container_ends_with_its_job(server: Server, containers: Containers) -> None:
    task_id = await server.submit_running("sleep 600")
    shim = shim_of(server.attempt_folder(task_id))
    for pid in sruns(task_id):
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not shim.exists())
    again = await server.until(task_id, lambda task: task.attempt == 2)
    # Slurm may end the step before the job, by a SIGTERM that the shim records.
    assert again.earlier_attempts[0].failure_reason == Task.LOST, again
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)
    await none_left(containers, task_id)
