"""Time limits of tasks that run on a real Slurm, changed while they run."""

from pathlib import Path

import pytest

from testbed.slurm import Slurm
from tests.support.program import Server, Task
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import until

pytestmark = pytest.mark.slow

LONG = 6_000
MINUTES = 103
"""Slurm's own limit for that: two minutes more, the grace, and rounded up."""


@pytest.fixture
async def server(serve: Serve, slurm: Slurm, transport_name: str, tmp_path: Path) -> Server:
    return await serve(backend_of(slurm, transport_name, tmp_path / "shared")).start()


def limit_of(cluster: Slurm, task_id: str) -> str:
    jobs = cluster.run("squeue", "--noheader", "--format=%j %l").splitlines()
    return next(line.split()[1] for line in jobs if task_id in line)


async def test_running_task_gets_more_time_and_less(server: Server, slurm: Slurm) -> None:
    """The shim looks for the limit every 10 s, and at its deadline."""
    task_id = await server.submit("sleep 9; exit 7", timeout_seconds=6)
    ends = await server.submit_running("sleep 600")
    await server.running(task_id)
    assert limit_of(slurm, task_id) == "3:00"
    reply = await server.change_limit(task_id, LONG)
    assert (reply.status, reply.json["timeout_seconds"]) == (200, LONG), reply.json
    assert limit_of(slurm, task_id) == "1:43:00"
    assert (await server.change_limit(ends, 12)).status == 200
    task = await server.ended(task_id)
    assert (task.exit_code, task.failure_reason) == (7, Task.EXIT_CODE), (task, server.log)
    task = await server.ended(ends)
    assert task.failure_reason == Task.TIMEOUT
    assert task.error == "timed out after 12 s"


async def test_waiting_task_that_slurm_has_keeps_its_limit(server: Server) -> None:
    blockers = [await server.submit_running("sleep 300", gpu=2) for _ in range(2)]
    waiting = await server.submit("true", gpu=1)
    await until(lambda: server.explained(waiting), lambda text: "Slurm's queue" in text)
    reply = await server.change_limit(waiting, LONG)
    assert (reply.status, reply.json["code"]) == (409, "CONFLICT")
    assert "the cluster already has the task" in reply.json["error"]
    for task_id in (waiting, *blockers):
        await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
        await server.ended(task_id)
