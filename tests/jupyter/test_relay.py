"""The relay of a Jupyter on a node, and the links to it: both ends prove themselves, and nothing
passes before."""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from fetchml.adapters.jupyter import client
from fetchml.adapters.jupyter.client import HttpJupyterClient, NodeLinks, read_port
from fetchml.adapters.jupyter.link import http_session
from fetchml.adapters.node_relays import connector
from fetchml.auth.pinned_certificate import SECRET_BYTES, certificate_of
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.jupyter import JupyterEndpoint, JupyterLink
from fetchml.shim import node_relay as relay_program
from fetchml.shim.node_relay import ALL_PORTS, Relay, context_of, join, listen
from tests.jupyter.recorder import recorder
from tests.support.waiting import SECONDS, soon, until_true

SECRET, OTHER = bytes(SECRET_BYTES), b"o" * SECRET_BYTES
TOKEN = "a-token-of-jupyter"
ID = "0198c0de-0000-7000-8000-000000000001"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@dataclass
class Behind:
    """What listens in Jupyter's place, and all that reached it."""

    folder: Path
    port: int = 0
    connections: int = 0
    heard: bytearray = field(default_factory=bytearray)

    def endpoint(self, secret: bytes = SECRET) -> JupyterEndpoint:
        return JupyterEndpoint(ID, 1, self.folder, TOKEN, secret)

    def record(self, text: str) -> None:
        (self.folder / client.RECORD).write_text(text)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.heard += await reader.readuntil(b"\r\n\r\n")
            writer.write(REPLY)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The relay has closed.
        finally:
            writer.close()


@pytest.fixture
async def jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Behind]:
    there = Behind(tmp_path)
    monkeypatch.setattr(relay_program, "SOCKET", str(tmp_path / "jupyter.sock"))
    server = await asyncio.start_unix_server(there.handle, tmp_path / "jupyter.sock")
    yield there
    server.close()


@asynccontextmanager
async def relayed(there: Behind) -> AsyncIterator[None]:
    """A relay in this process, with its record."""
    listener = listen()
    there.port = listener.getsockname()[1]
    there.record(f"port={there.port}\n")
    serving = asyncio.create_task(
        Relay(context_of(certificate_of(SECRET).both), join).serve(listener)
    )
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listener.close()


@pytest.fixture
async def behind(jupyter: Behind) -> AsyncIterator[Behind]:
    async with relayed(jupyter):
        yield jupyter


async def link_to(endpoint: JupyterEndpoint, address: str | None = "127.0.0.1") -> JupyterLink:
    return await NodeLinks(lambda *_: address, SharedDisk()).open(endpoint)


async def answers(link: JupyterLink) -> bool:
    return await HttpJupyterClient(5).answers(link)


async def test_requests_pass(behind: Behind) -> None:
    link = await link_to(behind.endpoint())
    assert await answers(link)
    assert f"token {TOKEN}".encode() in behind.heard
    link.close()
    link.close()
    assert not await answers(link), "a closed link opens nothing"


async def test_server_with_another_secret_is_not_let_in(behind: Behind) -> None:
    assert not await answers(await link_to(behind.endpoint(OTHER)))
    assert await answers(await link_to(behind.endpoint()))
    assert behind.connections == 1


@pytest.mark.parametrize("hello", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", os.urandom(4000)])
async def test_what_is_no_handshake_reaches_nothing(behind: Behind, hello: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", behind.port)
    writer.write(hello)
    writer.write_eof()
    assert b"hi" not in await soon(reader.read())
    writer.close()
    assert behind.connections == 0


async def test_client_without_a_certificate_reaches_nothing(behind: Behind) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the moment
        await _request(behind.port, context)
    assert behind.connections == 0


async def _request(port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        if not await soon(reader.read()):
            raise ConnectionResetError
    finally:
        writer.close()


async def test_slow_handshakes_are_cut_and_keep_nobody_out(
    jupyter: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there may be; who comes next waits no longer than one of them may take."""
    monkeypatch.setattr(relay_program, "HANDSHAKE_SECONDS", 0.5)
    monkeypatch.setattr(relay_program, "MOST_HANDSHAKES", 3)
    async with relayed(jupyter), AsyncExitStack() as stack:
        slow = [await asyncio.open_connection("127.0.0.1", jupyter.port) for _ in range(10)]
        for _, writer in slow:
            stack.callback(writer.close)
            writer.write(b"\x16")
        assert await answers(await link_to(jupyter.endpoint()))
        for reader, _ in slow:
            assert await soon(_rest(reader)) == b""


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_connections_are_bounded(jupyter: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_program, "MOST_CONNECTIONS", 2)
    context = certificate_of(SECRET).client_context()
    async with relayed(jupyter), AsyncExitStack() as stack:
        opened = [
            await asyncio.open_connection("127.0.0.1", jupyter.port, ssl=context) for _ in range(2)
        ]
        for _, writer in opened:
            stack.callback(writer.transport.abort)
        await until_true(lambda: jupyter.connections == 2)
        waiting = asyncio.create_task(answers(await link_to(jupyter.endpoint())))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.shield(waiting)
        assert jupyter.connections == 2
        opened[0][1].transport.abort()
        assert await soon(waiting)


async def test_port_that_another_listener_took_over_gets_no_request(tmp_path: Path) -> None:
    """The link was made while the relay lived; its job has ended since."""
    async with recorder() as heard:
        there = Behind(tmp_path)
        there.record(f"port={heard.port}\n")
        link = await link_to(there.endpoint())
        asking = asyncio.create_task(_ask(link))
        await soon(heard.came.wait())
        heard.refuse()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await soon(heard.ended.wait())
    assert heard.hello_only(), bytes(heard.data)


async def test_listener_with_a_certificate_of_its_own_gets_no_request(tmp_path: Path) -> None:
    """It does speak TLS, and would take anybody."""
    heard = bytearray()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await _rest(reader))
        writer.close()

    context = context_of(certificate_of(OTHER).both)
    context.verify_mode = ssl.CERT_NONE
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    there = Behind(tmp_path)
    there.record(f"port={server.sockets[0].getsockname()[1]}\n")
    with pytest.raises(aiohttp.ClientConnectorError, match="certificate"):
        await _ask(await link_to(there.endpoint()))
    server.close()
    assert heard == b""


async def _ask(link: JupyterLink) -> None:
    async with (
        http_session(link, answer_seconds=SECONDS) as session,
        session.get("http://jupyter/", headers={"Cookie": "of=ada"}) as reply,
    ):
        await reply.read()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "port=22\n",
        "port=0\n",
        "port=1023\n",
        "port=65536\n",
        "port=-5000\n",
        "port=05000\n",
        "port=5000",
        "port=\u0665000\n",
        "port=5000\nport=5001\n",
        "address=192.0.2.1\nport=5000\n",
        "port=5000\n" + 100_000 * "x",
    ],
)
def test_invalid_record(tmp_path: Path, text: str) -> None:
    (tmp_path / client.RECORD).write_text(text)
    with pytest.raises(OSError, match="is invalid"):
        read_port(tmp_path)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "missing"])
def test_what_is_no_record_is_not_read(tmp_path: Path, kind: str) -> None:
    record = tmp_path / client.RECORD
    (tmp_path / "other").write_text("port=5000\n")
    match kind:
        case "link":
            record.symlink_to(tmp_path / "other")
        case "fifo":
            os.mkfifo(record)
        case "folder":
            record.mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the kind
        read_port(tmp_path)


async def test_nothing_is_connected_to_before_the_cluster_names_the_node(behind: Behind) -> None:
    with pytest.raises(OSError, match="node"):
        await link_to(behind.endpoint(), None)


def test_certificates_of_two_secrets_differ() -> None:
    assert certificate_of(SECRET) == certificate_of(SECRET)
    assert certificate_of(SECRET).certificate != certificate_of(OTHER).certificate
    assert certificate_of(SECRET).private_key != certificate_of(OTHER).private_key


# The program itself.

FAKE = """\
import os, signal, sys
assert "FETCHML_JUPYTER_KEY" not in os.environ
open("began", "w").close()
{}
"""


@pytest.fixture
def pythons() -> list[str]:
    """The test's own and the oldest of this machine: nodes have others than the server."""
    others = (shutil.which(f"python3.{minor}") for minor in range(8, 20))
    return [sys.executable, *[each for each in others if each is not None and runs(each)][:1]]


def runs(python: str) -> bool:
    return subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


def begin(folder: Path, python: str, *command: str) -> "subprocess.Popen[bytes]":
    words = [python, "-IS", relay_program.__file__, "jupyter", ALL_PORTS, *command]
    return subprocess.Popen(
        ["/bin/sh", "-c", 'exec 9<. && exec "$@"', "sh", *words],
        cwd=folder,
        env={relay_program.KEY: certificate_of(SECRET).both},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_exit_is_that_of_jupyter(tmp_path: Path, pythons: list[str]) -> None:
    for python in pythons:
        for code, expected in (
            ("sys.exit(3)", 3),
            ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
            ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ):
            relay = begin(tmp_path, python, python, "-c", FAKE.format(code))
            _, said = relay.communicate(timeout=SECONDS)
            assert relay.returncode == expected, (python, said)
            assert read_port(tmp_path) >= connector.LOWEST_PORT
            (tmp_path / client.RECORD).unlink()


SERVER = """\
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind("/proc/self/fd/9/new.sock")
listener.listen(1)
os.rename("/proc/self/fd/9/new.sock", "/proc/self/fd/9/jupyter.sock")
client, _ = listener.accept()
while not client.recv(65536).endswith(b"\\r\\n\\r\\n"):
    pass
client.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n" + bytes({size}))
client.close()
listener.accept()
"""
LARGE_BYTES = 8_000_000


@pytest.mark.slow
async def test_whole_reply_comes_before_the_end_of_its_connection(
    tmp_path: Path, pythons: list[str]
) -> None:
    for number, python in enumerate(pythons):
        folder = tmp_path / str(number)
        folder.mkdir()
        code = FAKE.format(SERVER.format(size=LARGE_BYTES))
        relay = begin(folder, python, python, "-c", code)
        try:
            await until_true((folder / "jupyter.sock").exists)
            await until_true((folder / client.RECORD).exists)
            link = await link_to(Behind(folder).endpoint())
            async with (
                http_session(link, answer_seconds=SECONDS) as session,
                session.get("http://jupyter/") as reply,
            ):
                assert len(await reply.read()) == LARGE_BYTES, python
        finally:
            os.killpg(relay.pid, signal.SIGKILL)
            relay.communicate()


def test_program_that_is_missing_is_named(tmp_path: Path) -> None:
    relay = begin(tmp_path, sys.executable, "no-such-jupyter")
    _, said = relay.communicate(timeout=SECONDS)
    assert relay.returncode == 127
    assert said.startswith(b"no-such-jupyter: ")
    assert not (tmp_path / client.RECORD).exists()


async def test_jupyter_ends_by_itself_when_it_is_asked_to(tmp_path: Path) -> None:
    code = "signal.signal(15, lambda *_: sys.exit(4)); open('ready', 'w').close(); signal.pause()"
    relay = begin(tmp_path, sys.executable, sys.executable, "-c", FAKE.format(code))
    await until_true((tmp_path / "ready").exists)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(relay.pid, number)
    assert relay.poll() is None
    os.killpg(relay.pid, signal.SIGTERM)
    await asyncio.to_thread(relay.communicate, timeout=SECONDS)
    assert relay.returncode == 4


def test_relay_listens_on_all_addresses_of_its_node() -> None:
    with listen() as listener:
        port = listener.getsockname()[1]
        assert port >= connector.LOWEST_PORT
        families = [socket.AF_INET]
        if listener.family is socket.AF_INET6:
            families.append(socket.AF_INET6)
        for family in families:
            with socket.socket(family) as client:
                client.connect(("127.0.0.1" if family is socket.AF_INET else "::1", port))
