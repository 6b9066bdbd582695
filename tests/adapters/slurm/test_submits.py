"""Which of several jobs of one attempt counts, and how its job is ended."""

import asyncio
from pathlib import Path

import pytest

from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.submits import MOST_SIGNALS, Leftovers, Submits
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import LaunchSpec
from fetchml.shim import CLAIM_EXISTS
from tests.support.slurm_world import PENDING, World
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


async def test_job_that_removes_its_container_may_end_by_itself(
    world: World, submits: Submits
) -> None:
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, RUNNING, "a")
    world.stand.jobs[2] = Job(2, PENDING, "a")
    ending = asyncio.create_task(submits.end_all(followed, patience_seconds=60))
    await until_true(lambda: world.stand.cancelled.count(2) >= 2)
    assert set(world.stand.cancelled) == {2}
    assert not ending.done()
    for number in (1, 2):
        world.stand.jobs[number] = Job(number, FAILED, "a", code=1)
    await soon(ending)
    assert set(world.stand.cancelled) == {2}


async def test_job_that_does_not_end_by_itself_is_cancelled(world: World, submits: Submits) -> None:
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, RUNNING, "a")
    ending = asyncio.create_task(submits.end_all(followed, patience_seconds=0.01))
    await until_true(lambda: 1 in world.stand.cancelled)
    world.stand.jobs[1] = Job(1, FAILED, "a", code=1)
    await soon(ending)


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


@pytest.fixture
def run(tmp_path: Path) -> LaunchSpec:
    """An attempt that no job has claimed."""
    folder = tmp_path / "attempts/1"
    AttemptFolder(folder).create(0, 0)
    return LaunchSpec("task", 1, "job", folder, image="", argv=("true",), env={})


async def test_lost_signal_to_a_job_whose_script_has_not_begun_is_sent_again(
    world: World, submits: Submits, run: LaunchSpec
) -> None:
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, RUNNING, "a")
    world.stand.ends_at_signal = 3
    await soon(submits.terminate(run, followed))
    assert world.stand.signals == [1, 1, 1]


async def test_job_that_does_not_heed_signals_is_left_to_the_kill(
    world: World, submits: Submits, run: LaunchSpec
) -> None:
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, RUNNING, "a")
    await soon(submits.terminate(run, followed))
    assert len(world.stand.signals) == MOST_SIGNALS


async def test_command_gets_one_signal(world: World, submits: Submits, run: LaunchSpec) -> None:
    (run.folder / "run/claim").write_text("pid=1\n")
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, RUNNING, "a")
    await soon(submits.terminate(run, followed))
    assert world.stand.signals == [1]
