"""The shim's way out: a port of the loopback that leads to the server's socket."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.shim.attempt import Attempt
from tests.support.waiting import SECONDS

CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
    server.sendall(b"x" * 1_000_000)
    server.shutdown(socket.SHUT_WR)
    print(b"".join(iter(lambda: server.recv(1 << 16), b"")).decode(), flush=True)
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(SECONDS)
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen()
        yield listener


def start(attempt: Attempt, gateway: str, *command: str) -> "subprocess.Popen[bytes]":
    argv = attempt.argv(*command)
    return subprocess.Popen([*argv[: -len(command) - 1], "--gateway", gateway, "--", *command])


@pytest.mark.parametrize("is_there", [True, False], ids=["server", "server that starts later"])
def test_a_command_reaches_the_socket(tmp_path: Path, port: int, is_there: bool) -> None:
    attempt, path = Attempt(tmp_path), tmp_path / "http.sock"
    command = [sys.executable, "-c", CLIENT, str(port)]
    if not is_there:
        with listening(path):
            pass  # The socket of an earlier server refuses.
    with start(attempt, f"{port}:{path}", *command) as process:
        if not is_there:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
        with listening(path) as listener:
            server, _ = listener.accept()
            with server:
                server.settimeout(SECONDS)
                received = sum(map(len, iter(lambda: server.recv(1 << 16), b"")))
                server.sendall(b"answer")
        assert process.wait(SECONDS) == 0
    assert received == 1_000_000
    assert attempt.log() == "answer\n"
    assert (attempt.end()["code"], attempt.end()["stopped"]) == ("0", "0")


def test_without_its_port_the_command_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = f"{taken.getsockname()[1]}:{tmp_path}/http.sock"
        attempt = Attempt(tmp_path)
        with start(attempt, gateway, "echo", "hello") as process:
            assert process.wait(SECONDS) == 0
    assert attempt.log() == "hello\n"


@pytest.mark.parametrize("gateway", ["", "0:/a", "65536:/a", "80", "80:" + "x" * 200])
def test_wrong_usage(tmp_path: Path, gateway: str) -> None:
    with start(Attempt(tmp_path), gateway, "true") as process:
        assert process.wait(SECONDS) == 64
