"""The cause of an end by a signal: Slurm is asked, for a bounded time."""

import pytest

from fetchml.adapters.slurm.attempt_exits import exit_of_recorded
from fetchml.adapters.slurm.follower import Followed
from fetchml.adapters.slurm.job import Job, JobId
from fetchml.core.model import AttemptEnd
from fetchml.core.verdict import may_be_from_outside
from fetchml.ports.launcher import AttemptExit
from fetchml.shim import CLAIM_EXISTS
from tests.support.slurm_world import World
from tests.support.waiting import soon

BY_TERM = AttemptEnd(at=1, signal=15)


async def not_found(followed: Followed) -> Job | None:
    return None


async def exit_of(world: World, followed: Followed, seconds: float = 30.0) -> AttemptExit:
    return await soon(exit_of_recorded(world.follower, not_found, followed, BY_TERM, seconds))


@pytest.mark.parametrize(
    ("end", "from_outside"),
    [
        ({"code": 0}, False),
        ({"code": 3}, False),
        ({"code": 143}, True),
        ({"signal": 15}, True),
        ({"signal": 9}, True),
        ({"code": 0, "stopped": True}, True),
        ({"signal": 15, "timed_out": True}, False),
    ],
)
def test_only_ends_by_signals_may_be_from_outside(
    end: dict[str, object], from_outside: bool
) -> None:
    assert may_be_from_outside(AttemptEnd(at=1, **end)) is from_outside  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        (
            ("CANCELLED", "COMPLETING"),
            AttemptExit(lost="Slurm ended its job: CANCELLED COMPLETING"),
        ),
        (("PREEMPTED",), AttemptExit(lost="Slurm ended its job: PREEMPTED")),
        (("NODE_FAIL",), AttemptExit(lost="Slurm ended its job: NODE_FAIL")),
        (("FAILED",), AttemptExit()),
        (("COMPLETED",), AttemptExit()),
    ],
)
async def test_state_of_the_job_decides(
    world: World, state: tuple[str, ...], seen: AttemptExit
) -> None:
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, state, "a")
    assert await exit_of(world, followed) == seen


async def test_time_limit_and_memory_of_slurm_are_distinguished(world: World) -> None:
    followed = world.submit(1, "a")
    for state, timed_out, out_of_memory in (
        ("TIMEOUT", True, False),
        ("OUT_OF_MEMORY", False, True),
    ):
        world.stand.jobs[1] = Job(1, (state,), "a")
        seen = await exit_of(world, followed)
        assert (seen.timed_out, seen.out_of_memory) == (timed_out, out_of_memory)
        assert seen.lost


async def test_job_that_seems_to_run_is_asked_for_until_it_is_over(world: World) -> None:
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, ("RUNNING",), "a")
    looks = world.stand.looks

    def end_it(job_id: JobId) -> None:
        if world.stand.looks > looks + 2:
            world.stand.jobs[1] = Job(1, ("CANCELLED",), "a")

    world.stand.on_look = end_it
    seen = await exit_of(world, followed)
    assert seen.lost == "Slurm ended its job: CANCELLED"


async def test_record_is_believed_when_slurm_does_not_answer_in_time(world: World) -> None:
    followed = world.submit(1, "a")
    world.stand.away = "no answer"
    seen = await exit_of(world, followed, 0.05)
    assert seen == AttemptExit()


async def test_record_is_believed_when_slurm_has_lost_the_job(world: World) -> None:
    followed = world.submit(1, "a")
    world.stand.jobs.clear()
    seen = await exit_of(world, followed)
    assert seen == AttemptExit()


async def test_spare_job_that_found_the_claim_is_not_asked_for_the_end(world: World) -> None:
    followed = world.submit(2, "a")
    world.stand.jobs[2] = Job(2, ("FAILED",), "a", code=CLAIM_EXISTS)

    async def search(followed: Followed) -> Job | None:
        return Job(1, ("CANCELLED",), "a")

    seen = await soon(exit_of_recorded(world.follower, search, followed, BY_TERM))
    assert seen.lost == "Slurm ended its job: CANCELLED"
