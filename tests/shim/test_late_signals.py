"""A SIGTERM that reaches the shim between the end of the command and the record of it."""

import ctypes
import os
import signal
from pathlib import Path

import pytest

from tests.shim.attempt import Attempt, gone, running
from tests.support.waiting import SECONDS, wait_until

PTRACE_SEIZE = 0x4206
COMMAND = "trap 'exit {code}' TERM; setsid sleep 1000 & echo $! >pid.tmp; mv pid.tmp pid; wait"


@pytest.mark.parametrize(("code", "stopped"), [(7, "1"), (0, "0")])
def test_late_sigterm_counts_unless_the_command_succeeded(
    tmp_path: Path, code: int, stopped: str
) -> None:
    attempt = Attempt(tmp_path)
    argv = attempt.argv("sh", "-c", COMMAND.format(code=code), cwd=tmp_path)
    with running(argv) as shim:
        wait_until((tmp_path / "pid").exists)
        descendant = int((tmp_path / "pid").read_text())
        # The shim waits for a killed descendant until its tracer has seen it die.
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.ptrace(PTRACE_SEIZE, descendant, 0, 0) == 0, os.strerror(ctypes.get_errno())
        wait_until((attempt.folder / "started").exists)
        command = int(attempt.record("started")["pid"])
        os.kill(command, signal.SIGTERM)
        wait_until(lambda: gone(command))
        assert not (attempt.folder / "exit").exists()
        shim.send_signal(signal.SIGTERM)
        os.waitpid(descendant, 0)
        assert shim.wait(SECONDS) == code
    assert (attempt.end()["code"], attempt.end()["stopped"]) == (str(code), stopped)
