"""Sentences about attempts that wait or whose end is not recorded, and about missing images."""

import os
from pathlib import Path

import pytest

from fetchml.adapters.slurm.attempt_exits import exit_of_unclaimed
from fetchml.adapters.slurm.explanations import sentence, trouble
from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.launcher import SlurmLauncher, SlurmOptions
from fetchml.files.shared_disk import SharedFolders
from tests.support.launcher_bench import Bench, silent
from tests.support.slurm_world import Stand, World
from tests.support.waiting import until_true

RUNNING = Job(7, ("RUNNING",), "a", nodes="g1")
LONG = f"/shared/{'x' * 250}.sif"
FAILED = Job(7, ("NODE_FAIL",), "a", nodes="g1")


@pytest.mark.parametrize(
    ("job", "node_is_silent", "said"),
    [
        (FAILED, False, "Its node is silent (NODE_FAIL). It may still run"),
        (FAILED, True, "Its node is silent (NODE_FAIL). It may still run"),
        (RUNNING, True, "Its node is silent, and Slurm has no such job any more. It may"),
        (RUNNING, False, "Slurm has lost its job. It may still run"),
        (None, False, "Slurm has lost its job. It may still run"),
    ],
)
def test_reason_of_silence(job: Job | None, node_is_silent: bool, said: str) -> None:
    assert trouble(job, node_is_silent, 0, 0).startswith(said)
    assert "After 90 s of silence" in trouble(job, node_is_silent, 90, 0)


async def test_failed_job_that_slurm_has_forgotten_is_remembered() -> None:
    world = World()
    followed = world.submit(1, "a")
    await world.follower.open()
    world.stand.jobs[1] = Job(1, ("NODE_FAIL",), "a", nodes="g1")
    await until_true(lambda: followed.job is not None and followed.job.node_failed)
    del world.stand.jobs[1]
    await until_true(lambda: followed.job is None)
    assert followed.last is not None
    assert followed.last.node_failed
    await world.follower.close()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("QOSMaxGRESPerUser", "for room within a limit of its QOS (QOSMaxGRESPerUser)."),
        ("AssocGrpCPUMinutesLimit", "of its account or its user (AssocGrpCPUMinutesLimit)."),
        ("InvalidAccount", "for an account that it may use (InvalidAccount)."),
        ("QOSNotAllowed", "for a QOS that its partition allows (QOSNotAllowed)."),
        ("Licenses", "queue for licenses that are free (Licenses)."),
        ("FedJobLock", "queue, which reports: FedJobLock."),
    ],
)
def test_reason_of_a_pending_job(reason: str, words: str) -> None:
    assert sentence(Job(7, ("PENDING",), "a", reason)).endswith(words)


@pytest.mark.parametrize(
    "words",
    [
        # Podman
        "Error: initializing source docker://h/a:1: reading manifest 1 in h/a: manifest unknown",
        "reading manifest 1 in h/a: requested access to the resource is denied",
        "unauthorized: access to the requested resource is not authorized",
        'Error: short-name "a:1" did not resolve to an alias and no unqualified-search registries',
        "Error: a:1: image not known",
        "no image found in image index for architecture amd64",
        "no matching manifest for linux/arm64/v8 in the manifest list entries",
        # Apptainer
        "FATAL: could not open image /a.sif: lstat /a.sif: no such file or directory",
        f"FATAL: could not open image {LONG}: lstat {LONG}: no such file or directory",
        # Pyxis
        "pyxis: [ERROR] No such file or directory: /shared/a.sqsh",
        "pyxis: [ERROR] URL https://r/v2/a/manifests/1 returned error code: 404 Not Found",
    ],
)
def test_image_that_is_nowhere(words: str) -> None:
    found = exit_of_unclaimed(Job(7, ("FAILED",), "a"), words)
    assert found.no_image
    assert str(found.lost).endswith(f": {words[-300:]}")
    assert not exit_of_unclaimed(Job(7, ("NODE_FAIL",), "a"), words).no_image


@pytest.mark.parametrize(
    "words",
    [
        "dial tcp 127.0.0.1:443: connect: connection refused",
        "toomanyrequests: You have reached your pull rate limit",
        "pyxis: [ERROR] URL https://r/v2/a/manifests/1 returned error code: 503",
        "writing blob: no space left on device",
        "sh: 2: ./start: No such file or directory",
        "",
    ],
)
def test_image_that_another_try_may_get(words: str) -> None:
    assert not exit_of_unclaimed(Job(7, ("FAILED",), "a"), words).no_image


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
