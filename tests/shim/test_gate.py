"""Before the command: usage, the gate, the claim."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.shim.attempt import SHIM, Attempt, end_by, run, running, waits_at_gate
from tests.support.commands import ran
from tests.support.waiting import SECONDS, wait_until


@pytest.fixture
def closed(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path, opened=False)


def test_the_command_starts_when_the_gate_opens(closed: Attempt) -> None:
    with running(closed.argv("echo", "through")) as shim:
        wait_until(lambda: waits_at_gate(shim), "the shim waits")
        assert sorted(file.name for file in closed.folder.iterdir()) == ["gate"]
        closed.open_gate()
        assert shim.wait(SECONDS) == 0
    assert closed.log() == "through\n"


def test_the_gate_may_open_before_the_shim_comes(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, opened=True)
    assert run(attempt.argv("echo", "through")) == 0
    assert attempt.log() == "through\n"


def test_of_two_shims_that_wait_exactly_one_runs_the_command(closed: Attempt) -> None:
    argv = closed.argv("echo", "once")
    with running(argv) as first, running(argv) as second:
        wait_until(lambda: waits_at_gate(first) and waits_at_gate(second), "both wait")
        closed.open_gate()
        assert sorted([first.wait(SECONDS), second.wait(SECONDS)]) == [0, 120]
    assert closed.log() == "once\n"


def test_a_second_start_touches_nothing(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    assert run(attempt.argv("sh", "-c", "echo first; exit 3")) == 3
    before = {file.name: file.stat().st_mtime_ns for file in attempt.folder.iterdir()}
    assert run(attempt.argv("echo", "second")) == 120
    assert {file.name: file.stat().st_mtime_ns for file in attempt.folder.iterdir()} == before
    assert attempt.log() == "first\n"


def test_a_revoked_attempt_never_starts(closed: Attempt) -> None:
    with running(closed.argv("echo", "never")) as shim:
        wait_until(lambda: waits_at_gate(shim), "the shim waits")
        (closed.folder / "claim").write_text("revoked=1\n")
        closed.open_gate()
        assert shim.wait(SECONDS) == 120
    assert sorted(file.name for file in closed.folder.iterdir()) == ["claim", "gate", "open"]
    assert closed.record("claim") == {"revoked": "1"}


def test_sigterm_at_the_gate_leaves_the_attempt_unclaimed(closed: Attempt) -> None:
    with running(closed.argv("echo", "never")) as shim:
        wait_until(lambda: waits_at_gate(shim), "the shim waits")
        assert end_by(shim, signal.SIGTERM) == 143
    assert sorted(file.name for file in closed.folder.iterdir()) == ["gate"]


def test_the_claim_names_the_shim(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    with running(attempt.argv("cat", "/proc/self/status")) as shim:
        # Nobody has reaped the shim here, so its number still tells.
        os.waitid(os.P_PID, shim.pid, os.WEXITED | os.WNOWAIT)
        fields = Path(f"/proc/{shim.pid}/stat").read_text().rpartition(")")[2].split()
    assert attempt.record("claim") == {
        "pid": str(shim.pid),
        "starttime": fields[22 - 3],
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }
    assert f"PPid:\t{shim.pid}\n" in attempt.log()


def test_a_link_in_place_of_the_claim_is_not_followed(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    (attempt.folder / "claim").symlink_to(tmp_path / "elsewhere")
    assert run(attempt.argv("echo", "never")) == 120
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_in_place_of_the_gate_is_not_followed(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    (attempt.folder / "gate").rename(tmp_path / "gate")
    (attempt.folder / "gate").symlink_to(tmp_path / "gate")
    refused = ran(attempt.argv("true"))
    assert refused.returncode == 125
    assert "cannot open the gate" in refused.stderr
    assert not (attempt.folder / "claim").exists()


def test_a_gate_that_moves_without_being_open_is_not_a_busy_wait(closed: Attempt) -> None:
    with running(closed.argv("true"), stderr=subprocess.PIPE) as shim:
        with (closed.folder / "gate").open("wb") as gate:
            gate.write(b"1")
        _, message = shim.communicate(timeout=SECONDS)
    assert shim.returncode == 125
    assert "there is no file 'open'" in message.decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "are needed"),
        (["--dir", ".", "--segment-bytes", "1", "--grace-ms", "1", "--"], "are needed"),
        (["--dir", ".", "--segment-bytes", "0", "--grace-ms", "1", "--", "true"], "(1 or more)"),
        (["--grace-ms", "-1"], "no whole number up to 10^15: --grace-ms -1"),
        (["--timeout-ms", "9" * 30], "no whole number up to 10^15: --timeout-ms 999"),
        (["--grace", "1"], "unknown option, or"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: list[str], message: str) -> None:
    refused = ran([SHIM, *arguments])
    assert refused.returncode == 64
    assert refused.stderr.count("\n") == 1
    assert message in refused.stderr
