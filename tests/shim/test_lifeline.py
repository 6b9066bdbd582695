"""The lifeline: nothing goes on once nobody holds it open."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.shim.attempt import Attempt, await_death, run, running
from tests.support.waiting import SECONDS, wait_until


def argv(attempt: Attempt, lifeline: Path, *command: str) -> list[str]:
    made = attempt.argv(*command)
    return [*made[:1], "--lifeline", str(lifeline), *made[1:]]


@pytest.fixture
def lifeline(tmp_path: Path) -> Path:
    path = tmp_path / "lifeline"
    os.mkfifo(path)
    return path


def hold(lifeline: Path) -> "subprocess.Popen[bytes]":
    """A process that has it open, as the job's own."""
    command = ["sh", "-c", 'exec 9<>"$0"; echo; exec sleep 600', str(lifeline)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    return holder


def test_task_ends_as_without_one(attempt: Attempt, lifeline: Path) -> None:
    with hold(lifeline) as holder:
        assert run(argv(attempt, lifeline, "sh", "-c", "exit 3")) == 3
        holder.kill()
    assert attempt.end()["code"] == "3"


def test_end_of_the_job_ends_all_without_a_record(attempt: Attempt, lifeline: Path) -> None:
    script = "setsid sleep 600 & echo $! >$0.new; mv $0.new $0; sleep 600"
    written = attempt.folder.parent / "stray"
    with hold(lifeline) as holder:
        with running(argv(attempt, lifeline, "sh", "-c", script, str(written))) as shim:
            wait_until(written.exists, "the command runs")
            holder.kill()
            assert shim.wait(SECONDS) == 128 + signal.SIGKILL
        await_death(int(written.read_text()))
    assert (attempt.folder / "claim").exists()
    assert not (attempt.folder / "exit").exists()


def test_shim_that_hangs_does_not_save_the_command(attempt: Attempt, lifeline: Path) -> None:
    with hold(lifeline) as holder, running(argv(attempt, lifeline, "sleep", "600")) as shim:
        wait_until((attempt.folder / "started").exists, "the command runs")
        shim.send_signal(signal.SIGSTOP)
        holder.kill()
        command = int(attempt.record("started")["pid"])
        stat = Path(f"/proc/{command}/stat")
        wait_until(lambda: stat.read_text().split()[2] == "Z", "the command has ended")


@pytest.mark.parametrize("made", [True, False])
def test_nothing_is_claimed_after_the_job(attempt: Attempt, tmp_path: Path, made: bool) -> None:
    if made:
        os.mkfifo(tmp_path / "lifeline")
    assert run(argv(attempt, tmp_path / "lifeline", "touch", str(tmp_path / "ran"))) == 125
    assert not (tmp_path / "ran").exists()
    assert not (attempt.folder / "claim").exists()
