"""The shim as a relay to a TCP port."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.shim.attempt import SHIM
from tests.support.waiting import SECONDS, wait_until


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        yield listener


class Relay(NamedTuple):
    process: "subprocess.Popen[bytes]"
    path: Path
    listener: socket.socket

    def join(self) -> tuple[socket.socket, socket.socket]:
        """The client's end and the task's end of a new connection."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(SECONDS)
        client.connect(str(self.path))
        assert client.recv(1) == b"\0"
        task, _ = self.listener.accept()
        task.settimeout(SECONDS)
        return client, task

    def connections(self) -> int:
        """Each has a process."""
        pid = self.process.pid
        return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@pytest.fixture
def relay(tmp_path: Path, listener: socket.socket) -> Iterator[Relay]:
    port = str(listener.getsockname()[1])
    with subprocess.Popen(
        [SHIM, "relay", str(tmp_path), "socket", port],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"h\0\0\0\x011"
        yield Relay(process, tmp_path / "socket", listener)
        process.communicate(timeout=SECONDS)
    assert process.returncode == 0


def test_answer_after_the_end_of_the_request(relay: Relay) -> None:
    client, task = relay.join()
    with client, task:
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        assert task.recv(100) == b"request"
        assert task.recv(100) == b""
        task.sendall(b"answer")
        assert client.recv(100) == b"answer"


@pytest.mark.parametrize("size", [0, 16 << 20])
def test_connection_ends_with_its_client(relay: Relay, size: int) -> None:
    """Although the task neither reads what was sent, nor answers."""
    client, task = relay.join()
    with task:
        with client:
            client.setblocking(False)
            with suppress(BlockingIOError):
                for _ in range(size >> 16):
                    client.send(bytes(1 << 16))
        wait_until(lambda: relay.connections() == 0, "the connection is over")
