"""`fetchml port-forward`, into a real container whose network nothing else reaches."""

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from google.protobuf.message import Message

from fetchml.client import Client, Conflict, Unauthorized
from fetchml.client.access import forward_port
from fetchml.v1.access_pb2 import ForwardPortRequest
from tests.access.conftest import Entered
from tests.support.cli_server import FETCHML, environment
from tests.support.waiting import SECONDS, wait_until

ECHO = """
import pathlib, socket, threading
def serve(connection):
    with connection:
        size = 0
        while data := connection.recv(65536):
            size += len(data)
            connection.sendall(data)
        connection.sendall(b"and %d bytes" % size)
listener = socket.create_server(("127.0.0.1", 0))
pathlib.Path("port").write_text(str(listener.getsockname()[1]))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
ANY_BYTE = bytes(range(256)) * 4000


@pytest.fixture(scope="session")
def port(entered: Entered) -> int:
    """Of an echo server beside the task's own process, which a session keeps running."""
    return entered.serve(ECHO, "port")


def echoed(client: Client, task_id: str, port: int, data: bytes = b"hello") -> bytes:
    rpc = forward_port(task_id, port)

    def messages() -> Iterator[Message]:
        yield rpc.request
        for at in range(0, len(data), 1 << 15):
            yield ForwardPortRequest(data=data[at : at + (1 << 15)])

    return b"".join(reply.data for reply in client.converse(rpc, messages))


def test_bytes_both_ways_and_the_end_of_one(entered: Entered, port: int) -> None:
    answer = echoed(entered.owner, entered.task_id, port, ANY_BYTE)
    assert answer == ANY_BYTE + b"and %d bytes" % len(ANY_BYTE)


def test_where_nothing_listens(entered: Entered) -> None:
    with pytest.raises(Conflict, match=r"^Nothing listens on port 9 of the task$"):
        echoed(entered.owner, entered.task_id, 9)


def test_it_ends_with_the_key(entered: Entered, port: int) -> None:
    key = entered.key("ada")
    rpc, over = forward_port(entered.task_id, port), threading.Event()

    def messages() -> Iterator[Message]:
        yield rpc.request
        yield ForwardPortRequest(data=b"first")
        over.wait(SECONDS)

    with Client(entered.server.grpc, key.secret) as client:
        with closing(client.converse(rpc, messages)) as replies:
            assert next(replies).data == b"first"
            entered.revoke(key.key.id)
            with pytest.raises(Unauthorized):
                next(replies)
        over.set()


def test_it_ends_with_the_task(entered: Entered) -> None:
    task_id = entered.run('exec python3 -c "$0"', ECHO)
    port = int(wait_until(lambda: entered.exec("cat port 2>/dev/null", task_id)[1], "it listens"))
    rpc, over = forward_port(task_id, port), threading.Event()

    def messages() -> Iterator[Message]:
        yield rpc.request
        yield ForwardPortRequest(data=b"first")
        over.wait(SECONDS)

    with closing(entered.owner.converse(rpc, messages)) as replies:
        assert next(replies).data == b"first"
        entered.owner.cancel(task_id)
        assert list(replies) == []
    over.set()

    def entries() -> list[tuple[str, str, str]]:
        found = entered.server.json("audit", "--target", task_id, "--limit", "100")["entries"]
        return [(each["action"], each["user_id"], each.get("detail", "")) for each in found]

    ended = ("task.port_end", "ada", f"port {port}")
    wait_until(lambda: ended in entries(), "the end is audited")
    assert ("task.port", "ada", f"port {port}") in entries()
    with pytest.raises(Conflict, match="only a running task"):
        echoed(entered.owner, task_id, port)


def test_use_is_audited_once_for_each_key(entered: Entered, port: int) -> None:
    for _ in range(3):
        echoed(entered.owner, entered.task_id, port)
    found = entered.server.json("audit", "--target", entered.task_id, "--limit", "100")
    used = [
        entry
        for entry in found["entries"]
        if entry["action"] == "task.port" and entry["detail"] == f"port {port}"
    ]
    keys = [entry["key_id"] for entry in used]
    assert len(keys) == len(set(keys))
    assert "ada" in {entry["user_id"] for entry in used}


def _local(task_id: str, line: str, port: int) -> int:
    """The local port that the command prints, behind a host name of the task's port alone."""
    shown = re.fullmatch(
        rf"http://{task_id}-{port}\.localhost:(\d+) is port {port} of {task_id}, "
        r"for programs at 127\.0\.0\.1:\1\n",
        line,
    )
    assert shown is not None, line
    return int(shown[1])


@pytest.mark.parametrize("launcher", ["docker"], indirect=True)
def test_command(entered: Entered, port: int) -> None:
    with subprocess.Popen(
        [*FETCHML, "port-forward", entered.task_id, f"0:{port}", "0:9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**entered.server.variables),
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            local, nothing = (
                _local(entered.task_id, process.stdout.readline(), to) for to in (port, 9)
            )
            with socket.create_connection(("127.0.0.1", local), SECONDS) as connection:
                connection.sendall(b"hello")
                connection.shutdown(socket.SHUT_WR)
                answer = b""
                while data := connection.recv(1024):
                    answer += data
            assert answer == b"helloand 5 bytes"
            with socket.create_connection(("127.0.0.1", nothing), SECONDS) as connection:
                assert connection.recv(1024) == b""
            assert process.stderr.readline() == "Error: Nothing listens on port 9 of the task\n"
        finally:
            process.kill()
