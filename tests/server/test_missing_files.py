"""A server that was started without stdin, stdout or stderr, as `fetchml serve >&-` does."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.cli_server import FETCHML, SECONDS, environment, run, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Start = Callable[[Sequence[int]], "subprocess.Popen[bytes]"]
MISSING = [(2,), (0, 1, 2)]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(data_dir: Path) -> Iterator[Start]:
    """A server without these files; ended after the test if it still runs."""
    started: list[subprocess.Popen[bytes]] = []

    def start(missing: Sequence[int]) -> "subprocess.Popen[bytes]":
        closed = " ".join(f"{number}>&-" for number in missing)
        command = [*FETCHML, "serve", "--data-dir", str(data_dir), "--launcher", "process"]
        command += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
        process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        wait_until(lambda: (data_dir / "control.sock").exists() or process.poll() is not None)
        assert process.poll() is None
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("missing", MISSING)
def test_missing_standard_streams_lead_to_dev_null(start: Start, missing: Sequence[int]) -> None:
    process = start(missing)
    for number in missing:
        file = Path(f"/proc/{serving(process.pid)}/fd/{number}")
        assert file.readlink() == Path(os.devnull)
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0


def test_server_ends_when_the_store_fails(start: Start, data_dir: Path) -> None:
    process = start((0, 1, 2))
    # As on a full disk: no file may be written any more.
    resource.prlimit(serving(process.pid), resource.RLIMIT_FSIZE, (0, 0))
    run("keys", "--data-dir", str(data_dir), "create", "ada")
    assert process.wait(SECONDS) == 1


def test_second_signal_ends_the_server(start: Start) -> None:
    process = start((0, 1, 2))
    pid = serving(process.pid)
    os.kill(pid, signal.SIGSTOP)  # so that both come at the same moment
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        os.kill(pid, number)
    assert process.wait(SECONDS) in {128 + signal.SIGTERM, 128 + signal.SIGINT}


@pytest.mark.parametrize("last_words", ["raise OSError", "time.sleep(60)"])
def test_exit_is_certain_with_unread_stderr(last_words: str) -> None:
    """Also when nobody reads what stderr leads to."""
    start = "import time\nfrom fetchml.server import main\nwith main._exit_with(7):\n "
    command = [sys.executable, "-c", start + last_words]
    ended = subprocess.run(command, check=False, timeout=SECONDS)
    assert ended.returncode == 7
