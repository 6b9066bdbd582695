"""The second slurmctld of a cluster takes over from the first one, with an outside count of the
starts: each acknowledged task runs once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.slurm import BACKUP, Slurm, private_slurm
from tests.server.test_slurm_faults import assert_ran_once, counted
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow


@pytest.fixture
def two_controllers() -> Iterator[Slurm]:
    with private_slurm(*BACKUP) as cluster:
        cluster.start_daemon("backup")
        cluster.until(lambda: cluster.run("scontrol", "ping").count(" UP") == 2, "the backup")
        yield cluster


@pytest.fixture
async def server(serve: Serve, two_controllers: Slurm, shared: Path) -> Server:
    return await serve(backend_of(two_controllers, "rest", shared)).start()


def save(cluster: Slurm) -> None:
    """Return when the backup can read of all jobs that they run, and the first one's heartbeat.

    A controller that is killed earlier forgets jobs, or their starts; the next one ends those.
    """
    mark = ["--hold", "--job-name=saved-mark", "--output=/dev/null"]
    cluster.run("sbatch", *mark, input="#!/bin/sh\n")
    state = cluster.folder / "state"
    cluster.until((state / "job_state").exists, "the first save")
    cluster.until(lambda: b"saved-mark" in (state / "job_state").read_bytes(), "the save")
    cluster.until((state / "heartbeat").exists, "the heartbeat")


async def test_tasks_go_on_and_submits_are_taken_when_the_backup_takes_over(
    server: Server, two_controllers: Slurm, starts: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = counted(starts, f"until [ -e {go} ]; do sleep 0.1; done; exit 4")
    task_ids = [await server.submit_running(waits) for _ in range(2)]
    await asyncio.to_thread(save, two_controllers)
    await asyncio.to_thread(two_controllers.kill_daemon, "slurmctld")
    task_ids += [await server.submit(counted(starts, "exit 4")) for _ in range(3)]
    await assert_ran_once(server, starts, task_ids[2:])
    go.touch()
    await assert_ran_once(server, starts, task_ids)
    assert await until(server.health, lambda status: status == "healthy")
    two_controllers.run("scancel", "--name=saved-mark")
    await eventually(lambda: not two_controllers.jobs())
    await asyncio.to_thread(two_controllers.until_idle)  # None is drained.
