"""When an attempt is over by the state of its job, and what Slurm adds to the record of an end."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.adapters.slurm import attempt_exits, start_files
from fetchml.adapters.slurm.attempt_exits import (
    LOCAL_SETTLE_SECONDS,
    SETTLE_SECONDS,
    ExitResolver,
    LeaseWatch,
    Silence,
    exit_of_recorded,
)
from fetchml.adapters.slurm.follower import Followed
from fetchml.adapters.slurm.job import Job, JobId
from fetchml.adapters.slurm.submits import Submits
from fetchml.core.model import AttemptEnd
from fetchml.core.verdict import may_be_from_outside
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import AttemptExit, LaunchSpec
from fetchml.shim import CLAIM_EXISTS
from tests.support.slurm_world import World
from tests.support.waiting import soon

SOON, LATE = LOCAL_SETTLE_SECONDS + 0.1, SETTLE_SECONDS + 0.1


def raising(_: Path) -> bool:
    raise OSError("it hangs")


@pytest.mark.parametrize("is_claimed", [True, False])
@pytest.mark.parametrize(
    ("is_local", "state", "soon", "late"),
    [
        (lambda _: True, "CANCELLED", True, True),
        (lambda _: False, "CANCELLED", False, True),
        (raising, "CANCELLED", False, True),
        (lambda _: True, "NODE_FAIL", False, None),
    ],
    ids=["local", "network", "fails", "silent node"],
)
async def test_end_that_only_slurm_reports(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_claimed: bool,
    is_local: Callable[[Path], bool],
    state: str,
    soon: bool,
    late: bool | None,
) -> None:
    """`late`: `None` if only an attempt that no shim has claimed is over then."""
    monkeypatch.setattr(attempt_exits, "is_local", is_local)
    followed = world.submit(1, "a")
    world.stand.jobs[1] = Job(1, (state,), "a")
    followed.take(world.stand.jobs[1])
    records = start_files.Records(
        was_prepared=True,
        is_open=True,
        is_claimed=is_claimed,
        is_revoked=False,
        has_started=False,
        has_ended=False,
    )
    disk = SharedDisk()
    submits = Submits(world.stand, world.follower, disk)
    exits = ExitResolver(world.follower, submits, disk, tmp_path, 0)
    run = LaunchSpec("t", 1, "a", tmp_path, "", ("true",), {})

    async def exit_after(seconds: float) -> AttemptExit | None:
        silence = Silence()
        silence.begin_if(True)
        silence._since = time.monotonic() - seconds
        return await exits.exit_of(run, followed, records, silence)

    assert await exit_after(0) is None
    assert (await exit_after(SOON) is not None) is soon
    expected = not is_claimed if late is None else late
    assert (await exit_after(LATE) is not None) is expected


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


LEASE = 10


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def looked(watch: LeaseWatch, clock: Clock, renewal: int | None, *, seconds: float = 0.0) -> bool:
    """A reading that takes some time."""
    watch.begin()
    clock.now += seconds
    return watch.is_over(renewal, LEASE)


def test_lease_is_over_after_twice_its_length() -> None:
    clock = Clock()
    watch = LeaseWatch(clock)
    assert not looked(watch, clock, 1)
    clock.now += 2 * LEASE - 0.1
    assert not looked(watch, clock, 1)
    clock.now += 0.2
    assert looked(watch, clock, 1)


def test_renewal_begins_it_anew() -> None:
    clock = Clock()
    watch = LeaseWatch(clock)
    for renewal in range(5):
        assert not looked(watch, clock, renewal)
        clock.now += 2 * LEASE + 1
    assert looked(watch, clock, renewal)


def test_slow_readings_are_not_time_without_a_renewal() -> None:
    clock = Clock()
    watch = LeaseWatch(clock)
    # It may have been renewed at any moment of a reading, but for what the reading saw.
    assert not looked(watch, clock, 1, seconds=3 * LEASE)
    assert not looked(watch, clock, 1, seconds=3 * LEASE)
    assert looked(watch, clock, 1)


def test_attempt_without_a_lease_is_never_over() -> None:
    clock = Clock()
    watch = LeaseWatch(clock)
    for _ in range(3):
        assert not looked(watch, clock, None)
        assert not watch.is_over(1, 0)
        clock.now += 1000
