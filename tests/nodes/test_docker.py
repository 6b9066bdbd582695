"""What only Docker's containers on nodes have, which are no processes of their jobs."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from testbed.docker_engine import Engine, PrivateEngine
from tests.nodes.cluster import Archive, Nodes
from tests.nodes.conftest import of_program
from tests.nodes.means import Means, docker_with_images, means_named
from tests.nodes.test_tasks import none_left
from tests.support.program import Server
from tests.support.registry import registry
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

Task = task_pb2.Task
of_docker = pytest.mark.parametrize("means", of_program("docker"), indirect=True)
of_root = pytest.mark.parametrize("means", of_program("docker")[:1], indirect=True)


@of_root
async def test_container_has_the_limits_of_its_job(
    server: Server, means: Means, docker_engine: Engine
) -> None:
    task_id = await server.submit_running("sleep 600", cpu=1, memory_gb=1)
    [found] = docker_engine.client.containers.list(filters={"id": means.left(task_id)})
    limits = found.attrs["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"]) == (10**9, 1 << 30)
    assert limits["MemorySwap"] == 1 << 30
    assert limits["CpusetCpus"]
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)
    await none_left(means, task_id)


@of_root
async def test_container_without_memory_is_out_of_memory(server: Server, means: Means) -> None:
    script = "x=12345678; while :; do x=$x$x; done"
    task_id = await server.submit(script, memory_gb=1)
    task = await server.ended(task_id)
    assert task.failure_reason == Task.OUT_OF_MEMORY, task
    await none_left(means, task_id)


@of_docker
async def test_container_ends_with_its_job(
    server: Server, means: Means, docker_engine: Engine
) -> None:
    task_id = await server.submit_running("trap '' TERM; while :; do sleep 0.1; done")
    first = means.left(task_id)
    labels = docker_engine.client.containers.get(first).labels
    os.kill(int(labels["fetchml.client"]), signal.SIGKILL)
    await eventually(lambda: first not in means.left(task_id).split())
    assert not (server.attempt_folder(task_id) / "run/exit").exists()
    again = await server.until(task_id, lambda task: task.attempt == 2)
    assert again.earlier_attempts[0].error.startswith("Slurm ended its job: FAILED"), again
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)
    await none_left(means, task_id)


@of_root
async def test_image_that_its_registry_does_not_have(server: Server) -> None:
    with registry() as address:
        task_id = await server.submit("true", image=f"{address}/train:missing")
        task = await server.ended(task_id)
    assert (task.failure_reason, task.attempt) == (Task.PREPARE_FAILED, 1), task
    assert f"{address}/train:missing" in task.error, task


@of_root
async def test_next_job_removes_what_never_started(
    server: Server, means: Means, docker_engine: Engine
) -> None:
    ended = await asyncio.create_subprocess_exec("true")
    await ended.wait()
    owned = {"fetchml.owner": str(os.geteuid())}
    create = docker_engine.client.containers.create
    left = create(means.image, ["true"], labels={**owned, "fetchml.client": str(ended.pid)})
    starting = create(means.image, ["true"], labels={**owned, "fetchml.client": str(os.getpid())})
    try:
        await server.ended(await server.submit("true"))
        there = {each["Id"] for each in docker_engine.client.api.containers(all=True)}
        assert left.id not in there
        assert starting.id in there
    finally:
        starting.remove()


async def test_container_does_not_outlive_a_killed_engine(
    nodes: Nodes, own_docker_engine: PrivateEngine, small: Archive, tmp_path: Path
) -> None:
    with (
        docker_with_images(own_docker_engine, small, small) as docker,
        means_named("docker", nodes, tmp_path, lambda: docker) as means,
    ):
        server = await means.server(tmp_path).start()
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
        await server.close()
