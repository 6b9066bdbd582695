"""Jobs of the accounts of users: whose they are, and what happens while an account is away."""

import asyncio
from pathlib import Path

import pytest

from fetchml.adapters.slurm import submits as submits_module
from fetchml.adapters.slurm.job import Job, Submission
from fetchml.adapters.slurm.submits import Submits
from fetchml.files.shared_disk import SharedDisk
from tests.support.slurm_world import World
from tests.support.waiting import soon, until_true

RUNNING = ("RUNNING",)


@pytest.fixture
def submits(world: World, monkeypatch: pytest.MonkeyPatch) -> Submits:
    monkeypatch.setattr(submits_module, "ACCOUNT_SECONDS", 0.01)
    return Submits(world.stand, world.follower, SharedDisk())


async def test_job_of_another_account_with_the_same_name_is_not_the_attempts(
    world: World, submits: Submits
) -> None:
    followed = world.follower.follow("a", "ada")
    world.stand.jobs[1] = Job(1, RUNNING, "a", user="eve")
    assert await soon(submits.search(followed)) is None
    world.stand.jobs[2] = Job(2, RUNNING, "a", user="ada")
    found = await soon(submits.search(followed))
    assert found is not None
    assert found.id == 2
    assert not world.stand.cancelled, "the other one is not ours to end"
    world.follower.submitted(followed, found)
    world.stand.with_names = True
    world.stand.jobs[2] = Job(2, RUNNING, "a", user="eve")  # Its id was given out again.
    await until_true(lambda: followed.job is None)


async def test_job_of_another_account_does_not_take_the_place_of_the_servers(
    world: World, submits: Submits
) -> None:
    """Any user of the cluster can see the names of jobs, and give theirs the same."""
    followed = world.follower.follow("a", owner="service")
    world.stand.jobs[1] = Job(1, RUNNING, "a", user="eve")
    assert await soon(submits.search(followed)) is None
    # Over ssh the server's account may have any name.
    unknown = world.follower.follow("b", others=frozenset({"ada", "eve"}))
    world.stand.jobs[2] = Job(2, RUNNING, "b", user="eve")
    assert await soon(submits.search(unknown)) is None
    world.stand.jobs[3] = Job(3, RUNNING, "b", user="service")
    assert await soon(submits.search(unknown)) is not None


async def test_account_that_is_away_loses_no_job_and_no_others(world: World) -> None:
    followed = world.follower.follow("a", "ada")
    job = Job(1, ("PENDING",), "a", user="ada")
    world.follower.submitted(followed, job)
    world.stand.accounts_away.add("ada")
    polls = world.stand.polls
    await until_true(lambda: world.stand.polls > polls + 2)
    assert followed.job == job
    assert world.follower.answers.is_set()
    world.stand.accounts_away.clear()
    await until_true(lambda: followed.job is None)


async def test_submit_waits_for_its_account_and_is_explained(
    world: World, submits: Submits, tmp_path: Path
) -> None:
    followed = world.follower.follow("a", "ada")
    world.stand.accounts_away.add("ada")
    told: list[str] = []
    submission = Submission("a", "script", str(tmp_path), user="ada")
    handing = asyncio.create_task(
        submits.hand_over(followed, submission, told.append, search=False)
    )
    await until_true(lambda: len(told) == 2)
    assert "Slurm cannot be asked as ada: its token is rejected" in told[1]
    assert "ada" in followed.held_back
    world.stand.accounts_away.clear()
    await soon(handing)
    assert not followed.held_back
    assert world.stand.jobs[1].user == "ada"
