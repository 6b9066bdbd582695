"""A time limit that the server changes while the command runs."""

import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from tests.shim.attempt import Attempt, run, running
from tests.support.waiting import SECONDS, wait_until

LONG = 10 * SECONDS * 1000
"""A limit that no test here waits for, in milliseconds."""
WARNED = "trap 'echo warned' USR1; echo ready; while :; do sleep 0.01; done"
TICKS = "trap 'echo warned' USR1; while :; do echo tick; sleep 0.01; done"
UNTIL_GO = "echo ready; until [ -e go ]; do sleep 0.01; done"


@pytest.fixture
def control(tmp_path: Path) -> Path:
    folder = tmp_path / "control"
    folder.mkdir()
    return folder


def limit(control: Path, text: str) -> None:
    draft = control / "new"
    draft.write_text(text)
    draft.rename(control / "limit")


def ready(attempt: Attempt) -> None:
    wait_until(lambda: "ready\n" in attempt.log(), "the command is ready")


def warnings(attempt: Attempt, number: int) -> None:
    """The shell may name its sleep's end before each."""
    wait_until(lambda: attempt.log().count("warned\n") == number, f"{number} warnings")


def test_a_longer_limit_is_read_at_the_deadline(
    attempt: Attempt, control: Path, tmp_path: Path
) -> None:
    """The shim looks at once and at the deadline, whatever the interval is."""
    argv = attempt.argv(
        "sh", "-c", UNTIL_GO, timeout_ms=700, control=control, control_ms=LONG, cwd=tmp_path
    )
    with running(argv) as shim:
        ready(attempt)
        limit(control, f"timeout_ms={LONG}\n")
        with pytest.raises(subprocess.TimeoutExpired):
            shim.wait(1.5)
        (tmp_path / "go").touch()
        assert shim.wait(SECONDS) == 0
    assert attempt.end()["timed_out"] == "0"


@pytest.mark.parametrize("first", [None, LONG])
def test_a_shorter_limit_is_found_by_itself(
    attempt: Attempt, control: Path, first: int | None
) -> None:
    argv = attempt.argv("sleep", "600", timeout_ms=first, control=control, control_ms=20)
    with running(argv) as shim:
        wait_until((attempt.folder / "started").exists, "the command runs")
        limit(control, "timeout_ms=1\n")
        assert shim.wait(SECONDS) == 128 + signal.SIGTERM
    end = attempt.end()
    assert (end["timed_out"], end["stopped"]) == ("1", "0")


def test_a_limit_that_was_changed_before_the_start_counts(attempt: Attempt, control: Path) -> None:
    limit(control, "timeout_ms=50\n")
    argv = attempt.argv("sleep", "600", timeout_ms=LONG, control=control, control_ms=LONG)
    assert run(argv) == 128 + signal.SIGTERM
    assert int(attempt.end()["at_ms"]) - int(attempt.end()["started_ms"]) >= 50


def test_the_warning_moves_with_the_limit(attempt: Attempt, control: Path) -> None:
    argv = attempt.argv(
        "sh", "-c", WARNED, warn_ms=LONG - 100, control=control, control_ms=20, grace_ms=50
    )
    with running(argv) as shim:
        ready(attempt)
        limit(control, f"timeout_ms={LONG}\n")
        warnings(attempt, 1)
        limit(control, f"timeout_ms={LONG + 1}\n")
        warnings(attempt, 2)
        limit(control, "timeout_ms=1\n")
        shim.wait(SECONDS)
    assert (attempt.end()["warned"], attempt.end()["timed_out"]) == ("1", "1")


def test_the_same_limit_warns_once(attempt: Attempt, control: Path) -> None:
    argv = attempt.argv(
        "sh", "-c", TICKS, warn_ms=LONG - 50, timeout_ms=LONG, control=control, control_ms=5
    )
    with running(argv) as shim:
        warnings(attempt, 1)
        limit(control, f"timeout_ms={LONG}\n")
        before = attempt.log().count("tick")
        # The shim looks at the limit twice as often as the command prints.
        wait_until(lambda: attempt.log().count("tick") >= before + 20, "20 ticks")
        assert attempt.log().count("warned") == 1
        shim.kill()


@pytest.mark.parametrize(
    "text", ["", "timeout_ms=1", "timeout_ms=-1\n", "timeout_ms=x\n", "timeout_ms=" + "9" * 90]
)
def test_what_is_no_limit_changes_nothing(attempt: Attempt, control: Path, text: str) -> None:
    limit(control, text)
    argv = attempt.argv("sleep", "0.2", timeout_ms=LONG, control=control, control_ms=5)
    assert run(argv) == 0


def test_a_missing_folder_a_link_and_a_fifo_change_nothing(
    attempt: Attempt, control: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("timeout_ms=1\n")
    (control / "limit").symlink_to(tmp_path / "elsewhere")
    argv = attempt.argv("sleep", "0.1", timeout_ms=LONG, control=control, control_ms=5)
    assert run(argv) == 0
    (control / "limit").unlink()
    os.mkfifo(control / "limit")
    (tmp_path / "second").mkdir()
    second = Attempt(tmp_path / "second")
    assert run(second.argv("sleep", "0.1", control=control, control_ms=5)) == 0
    (tmp_path / "third").mkdir()
    third = Attempt(tmp_path / "third")
    assert run(third.argv("sleep", "0.1", control=tmp_path / "none", control_ms=5)) == 0


def test_looks_end_with_the_stop_and_cost_little(attempt: Attempt, control: Path) -> None:
    """Once it is stopping the command, the grace period counts: nothing lengthens it."""
    ignores = "trap '' TERM; echo ready; while :; do sleep 60; done"
    argv = attempt.argv("sh", "-c", ignores, control=control, control_ms=5, grace_ms=400)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with running(argv) as shim:
        ready(attempt)
        shim.send_signal(signal.SIGTERM)
        limit(control, f"timeout_ms={LONG}\n")
        assert shim.wait(SECONDS) == 128 + signal.SIGKILL
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.1
    assert attempt.end()["timed_out"] == "0"


@pytest.mark.parametrize("options", [("--control-ms", "0"), ("--control-ms", "x")])
def test_an_interval_is_a_whole_number_of_milliseconds(
    attempt: Attempt, options: tuple[str, str]
) -> None:
    argv = attempt.argv("true")
    assert run([argv[0], *options, *argv[1:]]) == 64
