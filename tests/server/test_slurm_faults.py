"""Faults of Slurm, with an outside count of the starts: each acknowledged task runs once."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from testbed.slurm import Slurm, private_slurm
from tests.support.program import Server
from tests.support.scripts import until_file
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of, both_transports
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow

Task = task_pb2.Task
COUNTED = 'echo started >>"{starts}/$FETCHML_TASK_ID"; '
"""Outside of the task's own folder, so that nothing of FetchML's takes part in the count."""


@pytest.fixture
async def server(serve: Serve, own_slurm: Slurm, transport_name: str, shared: Path) -> Server:
    return await serve(backend_of(own_slurm, transport_name, shared)).start()


def partition(cluster: Slurm, state: str) -> None:
    """`DOWN`: no job starts."""
    cluster.run("scontrol", "update", "PartitionName=main", f"State={state}")


def counted(starts: Path, script: str) -> str:
    return COUNTED.format(starts=starts) + script


def number_of_starts(starts: Path, task_id: str) -> int:
    file = starts / task_id
    return len(file.read_text().splitlines()) if file.exists() else 0


async def assert_ran_once(server: Server, starts: Path, task_ids: Sequence[str]) -> None:
    for task_id in task_ids:
        task = await server.ended(task_id)
        assert (task.exit_code, task.attempt) == (4, 1), task
        assert number_of_starts(starts, task_id) == 1


@both_transports
async def test_controller_killed_in_a_burst_of_submits(
    server: Server, own_slurm: Slurm, starts: Path
) -> None:
    """No job has started: a restarted slurmctld kills running jobs that it does not know."""
    with own_slurm.remembered():
        partition(own_slurm, "DOWN")
        submits = (server.submit(counted(starts, "exit 4")) for _ in range(12))
        burst = [asyncio.create_task(submit) for submit in submits]
        await eventually(lambda: len(own_slurm.jobs()) > 0)
        await asyncio.to_thread(own_slurm.kill_daemon, "slurmctld")
        task_ids = list(await asyncio.gather(*burst))
        assert await until(server.health, lambda status: status == "degraded")
        # Accepted while nothing answers.
        task_ids.append(await server.submit(counted(starts, "exit 4")))
    await asyncio.to_thread(own_slurm.restart_controller)
    partition(own_slurm, "UP")
    await assert_ran_once(server, starts, task_ids)
    assert await until(server.health, lambda status: status == "healthy")
    await eventually(lambda: not own_slurm.jobs())
    await asyncio.to_thread(own_slurm.until_idle)  # None is drained.


@both_transports
async def test_controller_that_hangs(server: Server, own_slurm: Slurm, starts: Path) -> None:
    running = await server.submit_running(counted(starts, "sleep 2; exit 4"))
    own_slurm.pause_daemon("slurmctld")
    try:
        assert await until(server.health, lambda status: status == "degraded")
        waiting = await server.submit(counted(starts, "exit 4"))
        # Its end is on the shared folder, so it needs no controller.
        assert (await server.ended(running)).exit_code == 4
    finally:
        own_slurm.pause_daemon("slurmctld", go_on=True)
    await assert_ran_once(server, starts, [running, waiting])


async def test_silent_task_that_an_admin_declares_lost_is_retried(
    serve: Serve, own_slurm: Slurm, shared: Path, starts: Path, tmp_path: Path
) -> None:
    server = await serve(backend_of(own_slurm, "rest", shared)).start()
    go = tmp_path / "go"
    script = counted(
        starts, f'test "$FETCHML_ATTEMPT" = 2 || until [ -e {go} ]; do sleep 0.1; done'
    )
    task_id = await server.submit_running(script)
    path = f"/v1/tasks/{task_id}/declare-lost"
    refused = await server.rest.ask("POST", path)
    assert (refused.status, b"not silent" in refused.body) == (409, True)
    node = (await server.get(task_id)).worker_id
    await asyncio.to_thread(own_slurm.lose_node, node)
    await until(lambda: server.explained(task_id), lambda text: "silent" in text)
    assert (await server.rest.ask("POST", path)).status == 200
    task = await server.ended(task_id)
    assert (task.status, task.attempt, task.infra_retries) == (Task.completed, 2, 1), task
    assert task.worker_id != node
    go.touch()
    entries = (await server.rest.get("/v1/audit")).json["entries"]
    assert any(each["action"] == "task.declare_lost" for each in entries)


@pytest.fixture(scope="module")
def full_slurm() -> Iterator[Slurm]:
    """A cluster that takes no further job: it takes one fewer than MaxJobCount."""
    with private_slurm("MaxJobCount=2") as cluster:
        cluster.run("sbatch", "--hold", "--output=/dev/null", "--wrap=true")
        yield cluster


@both_transports
async def test_full_queue_of_slurm_holds_tasks_back(
    serve: Serve, full_slurm: Slurm, transport_name: str, shared: Path, starts: Path
) -> None:
    """The command itself would repeat the submit for minutes."""
    server = await serve(backend_of(full_slurm, transport_name, shared)).start()
    task_id = await server.submit(counted(starts, "exit 4"))
    reason = await until(lambda: server.explained(task_id), lambda text: "MaxJobCount" in text)
    assert reason.endswith("It is submitted again."), reason
    assert await server.health() == "healthy"
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    assert (await server.ended(task_id)).failure_reason == Task.CANCELLED


async def test_server_and_controller_killed_together(
    server: Server, own_slurm: Slurm, starts: Path
) -> None:
    with own_slurm.remembered():
        partition(own_slurm, "DOWN")
        task_ids = [await server.submit(counted(starts, "exit 4")) for _ in range(5)]
        await eventually(lambda: len(own_slurm.jobs()) > 0)
        await asyncio.to_thread(own_slurm.kill_daemon, "slurmctld")
        await server.kill()
    await asyncio.to_thread(own_slurm.restart_controller)
    partition(own_slurm, "UP")
    await server.start()
    await assert_ran_once(server, starts, task_ids)
    await eventually(lambda: not own_slurm.jobs())


async def test_job_that_the_site_cancels_is_retried(
    server: Server, own_slurm: Slurm, starts: Path
) -> None:
    task_id = await server.submit_running(counted(starts, "sleep 300"))
    [job] = own_slurm.run("squeue", "--noheader", "--format=%i").split()
    own_slurm.run("scancel", job)
    task = await server.until(task_id, lambda task: task.attempt == 2)
    assert task.infra_retries == 1
    assert "Slurm ended its job: CANCELLED" in task.error, task


async def test_job_that_a_restarted_controller_revives_is_ended(
    serve: Serve, own_slurm: Slurm, transport_name: str, shared: Path, starts: Path
) -> None:
    server = await serve(backend_of(own_slurm, transport_name, shared)).start()
    own_slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    task_id = await server.submit(counted(starts, "exit 4"))
    await eventually(lambda: len(own_slurm.jobs()) == 1)
    with own_slurm.remembered():
        await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
        assert (await server.ended(task_id)).failure_reason == Task.CANCELLED
        await eventually(lambda: not own_slurm.jobs())
        await asyncio.to_thread(own_slurm.kill_daemon, "slurmctld")
        assert await until(server.health, lambda status: status == "degraded")
    await asyncio.to_thread(own_slurm.restart_controller)
    revived = own_slurm.run("squeue", "--noheader", "--states=all", "--format=%j")
    assert task_id in revived
    await eventually(lambda: not own_slurm.jobs())
    assert number_of_starts(starts, task_id) == 0


async def test_slurmd_killed_and_back(server: Server, own_slurm: Slurm, starts: Path) -> None:
    script = counted(starts, until_file("go") + "exit 4")
    first = await server.submit_running(script)
    node = (await server.get(first)).worker_id
    await asyncio.to_thread(own_slurm.kill_daemon, node)
    server.tell(first)
    # Slurm believes that it runs; the shim has recorded its end.
    await assert_ran_once(server, starts, [first])
    await asyncio.to_thread(own_slurm.start_daemon, node)
    await asyncio.to_thread(own_slurm.until_idle)
    await eventually(lambda: not own_slurm.jobs())
