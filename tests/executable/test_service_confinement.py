"""The server works within the confinement of the systemd unit."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from fetchml.ops.systemd_unit import unit
from testbed import debian
from testbed.docker_engine import Engine
from tests.executable.test_service import systemd_analyze
from tests.support.cli_server import FETCHML, Server
from tests.support.commands import ran

pytestmark = pytest.mark.slow

PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
WITHOUT_NEW_CODE = f"""
import ctypes, os, sys
assert ctypes.CDLL(None).prctl({PR_SET_MDWE}, {PR_MDWE_REFUSE_EXEC_GAIN}, 0, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""As `MemoryDenyWriteExecute=` does it."""


def run_a_task(server: Server, image: str) -> None:
    done = server.run("submit", "--image", image, "--wait", "--", "python3", "-c", "print(1)")
    done.succeeded()
    assert server.json("gpus") is not None


def test_server_runs_without_writable_executable_memory(
    tmp_path: Path, docker_engine: Engine, python_image: str
) -> None:
    program = [sys.executable, "-c", WITHOUT_NEW_CODE, *FETCHML]
    server = Server(
        tmp_path / "data", launcher="docker", program=program, DOCKER_HOST=docker_engine.host
    ).start()
    run_a_task(server, python_image)
    assert server.stop() == 0


def filtered(lines: list[str]) -> set[str]:
    """The system calls that the unit allows."""
    allowed = set[str]()
    for line in lines:
        remove = line.startswith("~")
        for word in line.removeprefix("~").split():
            calls = expanded(word)
            allowed = allowed - calls if remove else allowed | calls
    return allowed


def expanded(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    done = ran([systemd_analyze(), "syscall-filter", "--no-pager", word], check=True)
    found = set[str]()
    for line in done.stdout.splitlines()[1:]:
        name = line.strip()
        if name and not name.startswith("#"):
            found |= expanded(name)
    return found


def test_server_makes_only_system_calls_allowed_by_the_unit(
    tmp_path: Path, docker_engine: Engine, python_image: str
) -> None:
    text = unit(["/bin/true"], data_dir=tmp_path, docker=True, docker_group=True)
    allowed = filtered(re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE))
    made = tmp_path / "made"
    strace = [debian.program("strace"), "-f", "-qq", "-c", "-U", "name", "-o", str(made)]
    server = Server(
        tmp_path / "data",
        launcher="docker",
        program=[*strace, *FETCHML],
        DOCKER_HOST=docker_engine.host,
    ).start()
    run_a_task(server, python_image)
    process = server.process.pid
    [traced] = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    os.kill(int(traced), signal.SIGTERM)
    assert server.wait() == 0
    calls = {line.strip() for line in made.read_text().splitlines()} - {"syscall", "name", "total"}
    calls = {call for call in calls if re.fullmatch(r"[a-z0-9_]+", call)}
    assert {"epoll_wait", "fdatasync", "sendto"} & calls, made.read_text()
    assert calls - allowed == set()
