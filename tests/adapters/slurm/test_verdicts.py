"""Sentences about attempts whose end is not known."""

import pytest

from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.verdicts import sentence, trouble
from tests.support.slurm_world import World
from tests.support.waiting import until_true

RUNNING = Job(7, ("RUNNING",), "a", nodes="g1")
FAILED = Job(7, ("NODE_FAIL",), "a", nodes="g1")


@pytest.mark.parametrize(
    ("job", "node_is_silent", "said"),
    [
        (FAILED, False, "Its node is silent (NODE_FAIL). It may still run"),
        (FAILED, True, "Its node is silent (NODE_FAIL). It may still run"),
        (RUNNING, True, "Its node is silent, and Slurm does not know its job any more. It may"),
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
        ("Licenses", "queue, which reports: Licenses."),
    ],
)
def test_reason_of_a_pending_job(reason: str, words: str) -> None:
    assert sentence(Job(7, ("PENDING",), "a", reason)).endswith(words)
