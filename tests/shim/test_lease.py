"""The lease: a command goes on only as long as its shim can renew it on the shared folder."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.shim.attempt import SHIM, Attempt, run
from tests.support.waiting import SECONDS, wait_until

LEASE_MS = 3000
"""Far longer than a process waits for its turn on a busy machine."""


@pytest.fixture
def attempt() -> Iterator[Attempt]:
    """In memory: a renewal waits for the disk, which other tests use too."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Attempt(Path(folder))


@pytest.fixture
def started(attempt: Attempt, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A shim whose command, and a child of it in a session of its own, write to `beats`."""
    beat = f"while :; do echo >>{tmp_path}/beats; sleep 0.05; done"
    shim = subprocess.Popen(argv(attempt, "sh", "-c", f"setsid sh -c '{beat}' & {beat}"))
    try:
        wait_until((attempt.folder / "started").exists, "the command runs")
        wait_until((tmp_path / "beats").exists, "the command writes")
        yield shim
    finally:
        for pid in (*descendants(shim.pid), shim.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shim.wait(SECONDS)


def argv(attempt: Attempt, *command: str, lease_ms: int = LEASE_MS) -> list[str]:
    made = attempt.argv(*command)
    return [*made[:1], "--lease-ms", str(lease_ms), *made[1:]]


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def runs(pid: int) -> bool:
    """Whether it is a process that may go on; a zombie is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def is_shim(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").readlink() == Path(SHIM)


def guard_and_renewer(shim: int) -> tuple[int, int]:
    [guard] = [each for each in children(shim) if is_shim(each)]
    [renewer] = children(guard)
    return guard, renewer


def test_lease_is_renewed_while_the_command_runs(attempt: Attempt) -> None:
    lease = attempt.folder / "lease"
    # It ends by itself once it has seen two renewals.
    script = (
        f"seen() {{ stat -c %y {lease}; }}; for i in 1 2; do a=$(seen); "
        'while [ "$(seen)" = "$a" ]; do sleep 0.05; done; done'
    )
    assert run(argv(attempt, "sh", "-c", script)) == 0
    assert "lease_lost" not in attempt.end()


def test_folder_that_hangs_ends_the_command(
    attempt: Attempt, started: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    guard, renewer = guard_and_renewer(started.pid)
    # What reads and writes the folder makes no step, as in a call that does not return.
    os.kill(renewer, signal.SIGSTOP)
    os.kill(started.pid, signal.SIGSTOP)
    wait_until(
        lambda: not any(map(runs, set(descendants(started.pid)) - {guard, renewer})),
        "no process of the command is left",
    )
    beats = (tmp_path / "beats").stat().st_size
    # The folder is back: it is too late.
    os.kill(renewer, signal.SIGCONT)
    os.kill(started.pid, signal.SIGCONT)
    assert started.wait(SECONDS) == 128 + signal.SIGKILL
    assert (attempt.end()["signal"], attempt.end()["lease_lost"]) == ("9", "1")
    assert (tmp_path / "beats").stat().st_size == beats


def test_folder_that_fails_ends_the_command(
    attempt: Attempt, started: subprocess.Popen[bytes]
) -> None:
    lease = attempt.folder / "lease"
    lease.unlink()
    lease.mkdir()
    assert started.wait(SECONDS) == 128 + signal.SIGKILL
    assert attempt.end()["lease_lost"] == "1"


def test_command_does_not_outlive_its_guard(
    attempt: Attempt, started: subprocess.Popen[bytes]
) -> None:
    os.kill(guard_and_renewer(started.pid)[0], signal.SIGKILL)
    assert started.wait(SECONDS) == 128 + signal.SIGKILL
    assert attempt.end()["lease_lost"] == "1"


def test_without_a_renewal_nothing_starts(attempt: Attempt, tmp_path: Path) -> None:
    (attempt.folder / "lease").mkdir()
    assert run(argv(attempt, "touch", str(tmp_path / "ran"), lease_ms=300)) == 126
    assert not (tmp_path / "ran").exists()
    assert attempt.end()["lease_lost"] == "1"
    assert attempt.end()["error"].startswith("cannot renew the lease")
