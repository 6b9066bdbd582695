"""What the server reports of an attempt with a lease whose node has just become silent."""

import os
from pathlib import Path

import pytest

from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.launcher import SlurmLauncher, SlurmOptions
from fetchml.files.shared_disk import SharedFolders
from tests.support.launcher_bench import Bench, silent
from tests.support.slurm_world import Stand
from tests.support.waiting import until_true


@pytest.mark.parametrize("lease_seconds", [0, 6])
async def test_report_of_a_silent_node_has_the_lease_at_once(
    tmp_path: Path, lease_seconds: int
) -> None:
    """Also before a reading of the attempt's folder has found it there."""
    stand = Stand()
    options = SlurmOptions(tmp_path, lease_seconds=lease_seconds)
    owner = (os.geteuid(), os.getegid())
    watch = SharedFolders()
    bench = Bench(tmp_path, "", watch, lambda: SlurmLauncher(options, stand, watch, owner))
    launcher = await bench.open()
    assert isinstance(launcher, SlurmLauncher)
    run = bench.run("true")
    await launcher.prepare(run, silent)
    [(number, job)] = stand.jobs.items()
    stand.jobs[number] = Job(number, ("NODE_FAIL",), job.name)
    await until_true(lambda: launcher.trouble(run.task_id, run.attempt))
    said = launcher.trouble(run.task_id, run.attempt) or ""
    assert ("has not renewed its lease for 12 s" in said) == bool(lease_seconds), said
    await launcher.close()
