"""A fork of the process that has imported FetchML is `python -m fetchml` in all that tests see."""

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from fetchml.files.layout import CONTROL_SOCKET
from tests.support.cli_server import environment
from tests.support.preloaded import FETCHML, PROGRAM, Program, script, serve

pytestmark = pytest.mark.skipif(bool(PROGRAM), reason="the executable is never a fork")


def is_fork(program: Program) -> bool:
    parent = int(Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[1])
    return parent != os.getpid()


def outcome(command: Sequence[str], **variables: str) -> tuple[int, str, str]:
    with TemporaryFile("r+") as out, TemporaryFile("r+") as err:
        program = Program(
            command, environment(**variables), stdout=out.fileno(), stderr=err.fileno()
        )
        code = program.wait()
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


@pytest.mark.parametrize(
    "arguments",
    [["version"], ["submit", "--help"], ["no-such-command"], ["ls", "--server", "127.0.0.1:1"]],
)
def test_fork_does_what_a_new_interpreter_does(arguments: list[str]) -> None:
    fork = outcome([*FETCHML, *arguments])
    assert any(fork[1:]), "it prints something"
    # Another way to write the same command: it is not recognised, so it is no fork.
    assert outcome([sys.executable, "-u", "-m", "fetchml", *arguments]) == fork


def test_fork_has_the_environment_and_the_folder_of_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here.toml").write_text("nonsense = [")
    monkeypatch.chdir(tmp_path)
    code, _, said = outcome([*FETCHML, "serve", "--config", "here.toml"])
    assert (code, said.startswith("Error: here.toml: not TOML")) == (2, True)
    assert "the server at planted\n" in outcome([*FETCHML, "ls"], FETCHML_SERVER="planted")[2]


def test_server_that_is_a_fork_is_killed_and_reports_its_status(tmp_path: Path) -> None:
    flags = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--launcher", "process"]
    command = [*FETCHML, "serve", "--data-dir", str(tmp_path / "data"), *flags]
    with TemporaryFile() as log:
        program, line = serve(command, environment(), log)
        assert line.startswith("ready ")
        assert is_fork(program)
        assert program.poll() is None
        program.send_signal(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGALRM])
def test_fork_of_a_shell_is_killed_and_reports_it(tmp_path: Path, number: signal.Signals) -> None:
    fetchml = tmp_path / "fetchml"
    fetchml.write_text(script())
    fetchml.chmod(0o755)
    flags = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--launcher", "process"]
    data = tmp_path / "data"
    command = [str(fetchml), "serve", "--data-dir", str(data), *flags]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline().startswith(b"ready ")
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(data / CONTROL_SOCKET))
            peer = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        os.kill(struct.unpack("3i", peer)[0], number)
        assert shell.wait() == -number


@pytest.mark.parametrize("name", ["PYTHONUTF8", "LC_ALL", "TZ"])
def test_variable_that_an_interpreter_reads_gets_a_new_one(name: str) -> None:
    with TemporaryFile() as out:
        for variables, expected in (({}, True), ({name: "C"}, False)):
            given = environment(**variables)
            program = Program(
                [*FETCHML, "version"], given, stdout=out.fileno(), stderr=out.fileno()
            )
            assert is_fork(program) == expected
            program.wait()
