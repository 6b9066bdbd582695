"""Which of several jobs of one attempt counts."""

import pytest

from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.leftovers import Leftovers
from fetchml.adapters.slurm.submits import Submits
from fetchml.files.shared_disk import SharedDisk
from fetchml.shim import CLAIM_EXISTS
from tests.support.slurm_world import World
from tests.support.waiting import soon, until_true

RUNNING, FAILED = ("RUNNING",), ("FAILED",)


@pytest.fixture
def submits(world: World) -> Submits:
    return Submits(world.stand, world.follower, SharedDisk())


async def test_spare_that_ended_does_not_end_the_attempt(world: World, submits: Submits) -> None:
    followed = world.submit(2, "a")
    world.stand.jobs[1] = Job(1, RUNNING, "a")
    world.stand.jobs[2] = Job(2, FAILED, "a", code=CLAIM_EXISTS)
    assert not await soon(submits.can_be_claimed_by(followed))
    assert followed.job == Job(1, RUNNING, "a")


async def test_claim_of_a_job_that_slurm_lost_outlives_the_spare(
    world: World, submits: Submits
) -> None:
    followed = world.submit(2, "a")
    world.stand.jobs[2] = Job(2, FAILED, "a", code=CLAIM_EXISTS)
    assert not await soon(submits.can_be_claimed_by(followed))
    assert followed.job is None


async def test_only_job_of_an_attempt_is_its_claimer(world: World, submits: Submits) -> None:
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, FAILED, "a", code=1)
    assert await soon(submits.can_be_claimed_by(followed))


async def test_jobs_that_no_attempt_needs_are_ended(world: World) -> None:
    leftovers = Leftovers(world.stand)
    leftovers.prefix = "own-"
    names = ["own-live", "own-old", "own-over", "other", "own-new"]
    for number, name in enumerate(names, 1):
        world.stand.jobs[number] = Job(number, RUNNING, name)
    world.stand.jobs[3] = Job(3, FAILED, "own-over")
    await leftovers.begin({"own-live", "own-new"})
    try:
        assert world.stand.cancelled == [2]
        world.stand.jobs[4] = Job(4, RUNNING, "own-revived")
        leftovers.drop("own-new")
        leftovers.slurm_returned()
        await until_true(lambda: len(world.stand.cancelled) >= 4)
        assert set(world.stand.cancelled) == {2, 4, 5}
    finally:
        await leftovers.close()
