"""How soon an attempt is over without a record of its end."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.adapters.slurm import attempt_exits, start_files
from fetchml.adapters.slurm.attempt_exits import (
    LOCAL_SETTLE_SECONDS,
    SETTLE_SECONDS,
    Judge,
    Silence,
)
from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.submits import Submits
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import AttemptExit, LaunchSpec
from tests.support.slurm_world import World

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
    judging = Judge(world.follower, Submits(world.stand, world.follower, disk), disk, tmp_path, 0)
    run = LaunchSpec("t", 1, "a", tmp_path, "", ("true",), {})

    async def exit_after(seconds: float) -> AttemptExit | None:
        silence = Silence()
        silence.begin_if(True)
        silence._since = time.monotonic() - seconds
        return await judging.exit_of(run, followed, records, silence)

    assert await exit_after(0) is None
    assert (await exit_after(SOON) is not None) is soon
    expected = not is_claimed if late is None else late
    assert (await exit_after(LATE) is not None) is expected
