"""Which of several jobs of one attempt counts, and how its job is ended."""

import asyncio
from pathlib import Path

import pytest

from fetchml.adapters.slurm import submits as submits_module
from fetchml.adapters.slurm.job import Job, Submission
from fetchml.adapters.slurm.submits import MOST_SIGNALS, Leftovers, Submits
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import LaunchSpec
from fetchml.shim import CLAIM_EXISTS
from tests.support.slurm_world import PENDING, World
from tests.support.waiting import soon, until_true

RUNNING, FAILED = ("RUNNING",), ("FAILED",)


@pytest.fixture
def submits(world: World, monkeypatch: pytest.MonkeyPatch) -> Submits:
    monkeypatch.setattr(submits_module, "ACCOUNT_SECONDS", 0.01)
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
