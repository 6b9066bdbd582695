"""The lock of a data directory, right after the server that had it was killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fetchml.files import data_dir
from fetchml.files.data_dir import DataDirBusy, lock_data_dir

HOLD = """
import os, sys
from pathlib import Path
from fetchml.files.data_dir import lock_data_dir
lock = lock_data_dir(Path(sys.argv[1]))
if os.fork() == 0:  # A program that the server was starting: it has not closed the lock yet.
    print("held", flush=True)
    sys.stdin.readline()
    os._exit(0)
os._exit(0)
"""


def held_by_child(folder: Path) -> "subprocess.Popen[str]":
    """A lock whose server has ended; it is held until the process gets a line."""
    server = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.wait() == 0
    assert server.stdout is not None
    assert server.stdout.readline() == "held\n"
    return server


def test_lock_that_a_dead_server_left_to_a_child_is_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_by_child(tmp_path) as server:
        assert server.stdin is not None
        child = server.stdin
        looks = iter(range(10**9))

        def sleep(_: float) -> None:
            if next(looks) == 0:
                child.write("\n")
                child.flush()
            os.sched_yield()

        monkeypatch.setattr(time, "sleep", sleep)
        lock_data_dir(tmp_path).release()
        assert next(looks) > 0, "the lock was free"


def test_it_is_not_awaited_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_dir, "LEFT_SECONDS", 0.05)
    with held_by_child(tmp_path), pytest.raises(DataDirBusy, match="in use by another server"):
        lock_data_dir(tmp_path)


def test_lock_of_a_running_server_is_not_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_dir, "LEFT_SECONDS", 1e9)
    lock = lock_data_dir(tmp_path)
    with pytest.raises(DataDirBusy, match=f"pid {os.getpid()}"):
        lock_data_dir(tmp_path)
    lock.release()
