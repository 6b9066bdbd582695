"""Tasks of a cluster in containers of Docker, which are no processes of their jobs."""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from testbed import debian
from testbed.docker_engine import Engine, PrivateEngine
from testbed.slurm import Slurm, private_slurm
from tests.server import test_slurm_containers as of_podman
from tests.server.test_slurm_containers import IMAGE, Containers, none_left, write_image
from tests.server.test_slurm_containers import test_ends_are_told_apart as test_ends
from tests.server.test_slurm_containers import test_secrets as test_of_secrets
from tests.server.test_slurm_containers import (
    test_server_restarts_beside_a_container as test_restart,
)
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually

__all__ = ["test_ends", "test_of_secrets", "test_restart"]

Task = task_pb2.Task


@contextmanager
def nodes_with(engine: Engine, folder: Path) -> Iterator[Slurm]:
    """A cluster on whose nodes `docker` means this engine, which has the image then."""
    debian.install("busybox-static")
    if shutil.which("docker") is None:
        debian.install("docker-cli")
    path = Path(str(shutil.which("docker")))
    shutil.copy(path, folder / "real")
    own = folder / "docker"
    own.write_text(f'#!/bin/sh\nexec {folder}/real --host {engine.host} "$@"\n')
    own.chmod(0o755)
    (folder / "image").mkdir()
    archive = write_image(folder / "image")
    repository, _, version = IMAGE.partition(":")
    engine.client.api.import_image(
        str(archive), repository=repository, tag=version, changes=["ENV OF_IMAGE=yes"]
    )
    with private_slurm(programs={path: own}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def slurm(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with nodes_with(docker_engine, tmp_path_factory.mktemp("docker")) as cluster:
        yield cluster
    docker_engine.client.images.remove(IMAGE, force=True)


@pytest.fixture
def containers(docker_engine: Engine) -> Containers:
    def listed(task_id: str) -> str:
        of_task = {"label": f"fetchml.task={task_id}"}
        found = docker_engine.client.api.containers(all=True, filters=of_task)
        return " ".join(each["Id"] for each in found)

    return listed


async def server_on(serve: Serve, cluster: Slurm, shared: Path) -> Server:
    variables = {"FETCHML_SLURM_CONTAINER": "docker", "FETCHML_TASKS_IMAGE": IMAGE}
    return await serve(backend_of(cluster, "rest", shared), **variables).start()


@pytest.fixture
async def server(serve: Serve, slurm: Slurm, tmp_path: Path) -> Server:
    return await server_on(serve, slurm, tmp_path / "shared")


async def test_task_runs_in_its_image(server: Server, containers: Containers) -> None:
    await of_podman.test_task_runs_in_its_image(server, containers)


async def test_container_has_the_limits_of_its_job(
    server: Server, containers: Containers, docker_engine: Engine
) -> None:
    task_id = await server.submit_running("sleep 600", cpu=1, memory_gb=1)
    [found] = docker_engine.client.containers.list(filters={"id": containers(task_id)})
    limits = found.attrs["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"]) == (10**9, 1 << 30)
    assert limits["MemorySwap"] == 1 << 30
    assert limits["CpusetCpus"]
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)
    await none_left(containers, task_id)


async def test_container_without_memory_is_out_of_memory(
    server: Server, containers: Containers
) -> None:
    script = "x=12345678; while :; do x=$x$x; done"
    task_id = await server.submit(script, memory_gb=1)
    task = await server.ended(task_id)
    assert task.failure_reason == Task.OUT_OF_MEMORY, task
    await none_left(containers, task_id)


async def test_container_ends_with_its_job(
    server: Server, containers: Containers, docker_engine: Engine
) -> None:
    task_id = await server.submit_running("trap '' TERM; while :; do sleep 0.1; done")
    first = containers(task_id)
    labels = docker_engine.client.containers.get(first).labels
    os.kill(int(labels["fetchml.client"]), signal.SIGKILL)
    await eventually(lambda: first not in containers(task_id).split())
    assert not (server.attempt_folder(task_id) / "run/exit").exists()
    again = await server.until(task_id, lambda task: task.attempt == 2)
    assert again.earlier_attempts[0].error.startswith("Slurm ended its job: FAILED"), again
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)
    await none_left(containers, task_id)


async def test_next_job_removes_what_never_started(server: Server, docker_engine: Engine) -> None:
    ended = await asyncio.create_subprocess_exec("true")
    await ended.wait()
    owned = {"fetchml.owner": str(os.geteuid())}
    create = docker_engine.client.containers.create
    left = create(IMAGE, ["true"], labels={**owned, "fetchml.client": str(ended.pid)})
    starting = create(IMAGE, ["true"], labels={**owned, "fetchml.client": str(os.getpid())})
    try:
        await server.ended(await server.submit("true"))
        there = {each["Id"] for each in docker_engine.client.api.containers(all=True)}
        assert left.id not in there
        assert starting.id in there
    finally:
        starting.remove()


async def test_container_does_not_outlive_a_killed_engine(
    serve: Serve, own_docker_engine: PrivateEngine, tmp_path: Path
) -> None:
    with nodes_with(own_docker_engine, tmp_path) as cluster:
        server = await server_on(serve, cluster, tmp_path / "shared")
        task_id = await server.submit_running("trap '' TERM; while :; do sleep 0.1; done")
        [container] = own_docker_engine.client.containers.list()
        pid = container.attrs["State"]["Pid"]
        assert pid > 0
        shim = Path(f"/proc/{pid}")
        own_docker_engine.kill()
        await eventually(lambda: not shim.exists())
        await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
        await server.ended(task_id)
        own_docker_engine.start()
