"""The admin key of a server on this machine: where the command line sends it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fetchml.cli.connect import connected_to
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.targets import find_target
from fetchml.files.control_socket import write_address
from tests.support.cli_server import Server, run

KEY = "fml_admin"


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with an admin key, and without a server."""
    (tmp_path / "admin.key").write_text(f"{KEY}\n")
    monkeypatch.setenv("FETCHML_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("FETCHML_API_KEY", raising=False)
    return tmp_path


class Listener:
    """A stranger that listens on a loopback port."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.received = b""
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with closing(connection):
                connection.settimeout(0.2)
                try:
                    while data := connection.recv(1 << 16):
                        self.received += data
                except OSError:
                    continue

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


def test_a_listener_on_a_loopback_port_never_receives_the_admin_key(
    data_dir: Path, listener: Listener
) -> None:
    variables = {"FETCHML_SERVER": f"127.0.0.1:{listener.port}", "FETCHML_DATA_DIR": str(data_dir)}
    assert "Cannot reach a server" in run("ls", **variables).failed(ExitCode.UNREACHABLE)
    # With the user's own key, the same command does call it.
    assert run("ls", FETCHML_API_KEY="fml_own", **variables).code != 0
    assert listener.received
    assert KEY.encode() not in listener.received


def test_the_admin_key_is_sent_through_the_control_socket(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    try:
        server.run("submit", "--", "true").succeeded()
        assert "admin" in server.run("ls").succeeded()
        other = server.run("ls", FETCHML_SERVER="127.0.0.1:1").failed(ExitCode.REFUSED)
        assert server.grpc in other
    finally:
        server.stop()


@pytest.mark.parametrize("server", ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "LocalHost:1"])
def test_a_loopback_address_selects_the_server_on_this_machine(data_dir: Path, server: str) -> None:
    write_address(data_dir, "127.0.0.1:1")
    with connected_to(find_target(server, None)) as client:
        assert client.server.startswith("unix:")


@pytest.mark.parametrize(
    "server",
    [
        "gpu-box:9102",
        "10.0.0.1:9102",
        "[2001:db8::1]:9102",
        "127.0.0.1.example.org:9102",
        "localhost.example.org:9102",
        "dns:gpu-box",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "127.0.0.1:1,10.0.0.1:1",
    ],
)
@pytest.mark.usefixtures("data_dir")
def test_a_remote_server_requires_an_api_key(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_target(server, None)
    with pytest.raises(CommandError, match="No API key") as refused, connected_to(found):
        pass
    assert "FETCHML_API_KEY" in refused.value.hint
    monkeypatch.setenv("FETCHML_API_KEY", "fml_own")
    with connected_to(find_target(server, None)) as client:
        assert client.server == server


def test_each_key_reaches_its_own_server(server: Server, own_server: Server) -> None:
    """The sockets of both have the same path in one process after the other."""
    own_server.start()
    for _ in range(20):
        for each in (server, own_server):
            assert each.run("ls").code == 0
