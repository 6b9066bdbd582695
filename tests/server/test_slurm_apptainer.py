"""Tasks of a cluster in containers of a stand-in for Apptainer."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from testbed import debian
from testbed.apptainer import stand_in
from testbed.slurm import Slurm, private_slurm
from tests.server.test_slurm_containers import Containers, squash_image
from tests.server.test_slurm_containers import test_ends_are_told_apart as test_ends
from tests.server.test_slurm_containers import test_secrets as test_of_secrets
from tests.server.test_slurm_containers import (
    test_server_restarts_beside_a_container as test_restart,
)
from tests.server.test_slurm_doctor import findings
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of

__all__ = ["test_ends", "test_of_secrets", "test_restart"]

Task = task_pb2.Task


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Its nodes have a folder of programs of their own."""
    debian.install("squashfs-tools", "busybox-static")
    folder = tmp_path_factory.mktemp("programs")
    program = folder / "apptainer"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I {stand_in.__file__} "$@"\n')
    program.chmod(0o755)
    with private_slurm(programs={Path("/usr/local/sbin"): folder}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squash_image(tmp_path_factory.mktemp("image"), "image.sif")


@pytest.fixture
def containers() -> Containers:
    return lambda task_id: ""  # All of it is in the memory of the job's processes.


@pytest.fixture
async def server(serve: Serve, slurm: Slurm, tmp_path: Path, image: Path) -> Server:
    backend = backend_of(slurm, "rest", tmp_path / "shared")
    variables = {"FETCHML_SLURM_CONTAINER": "apptainer", "FETCHML_TASKS_IMAGE": str(image)}
    return await serve(backend, **variables).start()


async def test_task_runs_in_its_image(server: Server) -> None:
    value = 'it\'s "one" $x\nline'
    script = (
        "cat /etc/marker; "
        'echo "$OF_IMAGE|$VALUE|${SLURM_JOB_ID-none}|${CUDA_VISIBLE_DEVICES:+gpu}"; '
        'pwd; echo kept >"$FETCHML_OUTPUTS/file"; touch /etc/x && ls /etc; ls /root; exit 3'
    )
    task = await server.ended(await server.submit(script, env={"VALUE": value}, gpu=2))
    assert (task.status, task.exit_code) == (Task.failed, 3), task
    output = (await server.get(task.id)).output
    assert output.startswith(f"of the image\nyes|{value}|none|gpu\n/workspace\n"), output
    assert "marker\nx\n" in output, "changes are kept in memory"
    reply = await server.rest.get(f"/v1/tasks/{task.id}/outputs/file")
    assert reply.body == b"kept\n"


async def test_image_that_is_not_to_be_had(server: Server) -> None:
    task_id = await server.submit("true", image="oras://example.org/train:1")
    again = await server.until(task_id, lambda task: task.attempt == 2)
    assert "Unable to handle oras://example.org" in again.earlier_attempts[0].error, again
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)


def test_doctor_finds_it(slurm: Slurm, tmp_path: Path) -> None:
    variables = dict(backend_of(slurm, "rest", tmp_path / "shared").variables)
    found = findings(tmp_path, variables | {"FETCHML_SLURM_CONTAINER": "apptainer"}, "--probe")
    assert found["probe container"]["says"] == "apptainer version 0 (stand-in)"
