"""Which of Slurm's answers count for which job."""

import asyncio

import pytest

from fetchml.adapters.slurm.job import Job
from tests.support.slurm_world import World
from tests.support.waiting import until_true

PENDING, RUNNING, COMPLETED = ("PENDING",), ("RUNNING",), ("COMPLETED",)


@pytest.mark.parametrize("with_names", [False, True])
async def test_change_of_a_job_is_seen(world: World, with_names: bool) -> None:
    world.stand.with_names = with_names
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, RUNNING, "a", nodes="g1")
    await until_true(lambda: followed.job == Job(1, RUNNING, "a", nodes="g1"))
    assert followed.changed.is_set()


@pytest.mark.parametrize("with_names", [False, True])
async def test_id_that_another_job_has_now_is_not_followed(world: World, with_names: bool) -> None:
    world.stand.with_names = with_names
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, COMPLETED, "somebody-elses")
    await until_true(lambda: followed.job is None)


async def test_id_given_out_again_for_an_own_job_is_taken_from_the_lost_one(world: World) -> None:
    lost, new = world.submit(1, "lost"), world.submit(1, "new")
    assert lost.job is None
    assert new.job is not None
    assert new.job.name == "new"


async def test_late_answer_about_an_earlier_job_does_not_replace_a_new_one(world: World) -> None:
    followed = world.submit(1, "a")
    await until_true(lambda: followed.is_checked)
    world.stand.hold = asyncio.Event()
    looks = world.stand.looks
    world.stand.jobs[1] = Job(1, COMPLETED, "a")
    await until_true(lambda: world.stand.looks > looks)  # An answer is under way.
    new = Job(2, PENDING, "a")
    world.stand.jobs[2] = new
    world.follower.submitted(followed, new)
    world.stand.hold.set()
    polls = world.stand.polls
    await until_true(lambda: world.stand.polls > polls + 2)
    assert followed.job == new


async def test_after_an_outage_a_job_with_the_same_state_is_compared_by_name(world: World) -> None:
    followed = world.submit(1, "a")
    await until_true(lambda: followed.is_checked)
    world.stand.away = "no answer"
    await until_true(lambda: "no answer" in world.reports)
    assert not world.follower.answers.is_set()
    # The controller lost the job, and gave its id to another in the same state.
    world.stand.jobs[1] = Job(1, PENDING, "another")
    world.stand.away = None
    await until_true(lambda: followed.job is None)
    await until_true(world.follower.answers.is_set)


async def test_outage_takes_nothing_for_gone(world: World) -> None:
    followed = world.submit(1, "a")
    world.stand.jobs.clear()
    world.stand.away = "no answer"
    await until_true(lambda: "no answer" in world.reports)
    assert followed.job is None or followed.job.id == 1
    world.stand.jobs[1] = Job(1, RUNNING, "a")
    world.stand.away = None
    if followed.job is not None:
        await until_true(lambda: followed.job == Job(1, RUNNING, "a"))
