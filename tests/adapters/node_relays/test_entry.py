"""Entering an attempt on a node: sessions and ports through a relay that the shim starts."""

import asyncio
import errno
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from fetchml.access.session import ExecSession, Output
from fetchml.adapters.node_relays import entry
from fetchml.adapters.node_relays.entry import RECORD, NodePort
from fetchml.auth.pinned_certificate import SECRET_BYTES, certificate_of
from fetchml.ports.launcher import EnterError, Helper, RelayCommand, RemoteRelay, SessionCommand
from fetchml.shim import node_relay
from tests.adapters.node_relays.conftest import Attempt, running
from tests.jupyter.recorder import recorder
from tests.support.waiting import soon, until_true

pytestmark = pytest.mark.slow


async def run(attempt: Attempt, script: str, **env: str) -> tuple[int, bytes]:
    """Return the exit code and the output of a shell script."""
    entries = attempt.server
    command = SessionCommand(("sh", "-c", script), env=env)
    helper = await soon(entries.enter(attempt.run, command))
    session, shown = ExecSession(helper), b""
    await soon(session.begin())
    async for each in session.outputs():
        if isinstance(each, Output):
            shown += each.data
        else:
            await helper.close()
            return each.code, shown
    raise AssertionError("it has no end")


def changed_relay(program: Path, *changes: tuple[str, str]) -> None:
    """Write the relay's program with other numbers or words."""
    text = Path(node_relay.__file__).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    program.write_text(text)


async def open_port(attempt: Attempt, port: int) -> NodePort:
    helper = await soon(attempt.server.enter(attempt.run, RelayCommand("", port)))
    assert isinstance(helper, NodePort)
    assert isinstance(helper, RemoteRelay)
    assert await soon(helper.read()) == b"h\0\0\0\x011"
    return helper


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.setblocking(False)
        yield found


async def test_session_is_the_tasks(attempt: Attempt) -> None:
    code, shown = await run(attempt, "pwd; echo $OF_THE_TASK $MORE; exit 3", MORE="söme")
    assert (code, shown.decode()) == (3, f"{attempt.folder.workspace}\nyes söme\n")


async def test_one_relay_serves_all_sessions_and_servers(attempt: Attempt) -> None:
    """The second server is one that was started again."""
    done = await asyncio.gather(*(run(attempt, "echo hello") for _ in range(5)))
    assert done == [(0, b"hello\n")] * 5
    first = attempt.relays()
    assert len(first) == 1
    wakes = attempt.wakes
    attempt.server = attempt.entries()
    assert await run(attempt, "echo again") == (0, b"again\n")
    assert (attempt.relays(), attempt.wakes) == (first, wakes)


async def test_relay_that_was_killed_is_started_again(attempt: Attempt) -> None:
    await run(attempt, "true")
    for pid in attempt.relays():
        os.kill(pid, signal.SIGKILL)
    await until_true(lambda: not attempt.relays())
    assert await run(attempt, "echo again") == (0, b"again\n")


async def test_relay_ends_when_it_is_not_used(tmp_path: Path) -> None:
    program = tmp_path / "impatient.py"
    changed_relay(program, ("UNUSED_SECONDS = 600.0", "UNUSED_SECONDS = 0.4"))
    async with running(tmp_path, str(program)) as attempt:
        helper = await open_port(attempt, 9)
        await asyncio.sleep(1)  # It is used for longer than it would stay unused.
        assert len(attempt.relays()) == 1
        await helper.close()
        await until_true(lambda: not attempt.relays())
        assert await run(attempt, "echo again") == (0, b"again\n")


async def test_end_of_the_task_ends_all_of_it(attempt: Attempt) -> None:
    helper = await open_port(attempt, 9)
    attempt.shim.terminate()
    assert await soon(helper.read()) == b""
    await asyncio.to_thread(attempt.shim.wait)
    assert not attempt.relays()


async def test_nothing_is_left_of_a_session_that_the_server_drops(attempt: Attempt) -> None:
    command = SessionCommand(("sh", "-c", "trap '' HUP TERM; echo $$; sleep 4100"))
    helper = await attempt.server.enter(attempt.run, command)
    session = ExecSession(helper)
    await session.begin()
    first = await anext(aiter(session.outputs()))
    assert isinstance(first, Output)
    process = Path(f"/proc/{int(first.data)}")
    assert lives(process)
    await helper.close()
    await until_true(lambda: not lives(process))


def lives(process: Path) -> bool:
    return process.exists()


# Ports.


async def test_bytes_of_a_port_and_the_end_of_each_direction(
    attempt: Attempt, listener: socket.socket
) -> None:
    helper = await open_port(attempt, listener.getsockname()[1])
    loop, data = asyncio.get_running_loop(), os.urandom(300_000)
    with closing(await helper.connect()) as near:
        far, _ = await soon(loop.sock_accept(listener))
        with closing(far):
            assert await soon(loop.sock_recv(near, 1)) == b"\0"
            sending = asyncio.create_task(loop.sock_sendall(near, data))
            assert await soon(read(far, len(data))) == data
            await sending
            near.shutdown(socket.SHUT_WR)
            assert await soon(loop.sock_recv(far, 1)) == b""
            await loop.sock_sendall(far, b"after the end of the request")
            assert await soon(read(near, 28)) == b"after the end of the request"
            far.close()
            assert await soon(loop.sock_recv(near, 1)) == b""
    await helper.close()


async def read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += await asyncio.get_running_loop().sock_recv(connection, size - len(found))
    return found


async def test_client_that_leaves_ends_the_connection(
    attempt: Attempt, listener: socket.socket
) -> None:
    """The task sends nothing more, and would keep it."""
    helper = await open_port(attempt, listener.getsockname()[1])
    loop = asyncio.get_running_loop()
    near = await helper.connect()
    far, _ = await soon(loop.sock_accept(listener))
    with closing(far):
        assert await soon(loop.sock_recv(near, 1)) == b"\0"
        near.close()
        assert await soon(loop.sock_recv(far, 1)) == b""
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on the moment
            await soon(flood(far))
    await helper.close()


async def flood(connection: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(connection, bytes(100_000))


async def test_port_without_a_listener(attempt: Attempt) -> None:
    helper = await open_port(attempt, 9)
    with closing(await helper.connect()) as near:
        state = await soon(asyncio.get_running_loop().sock_recv(near, 1))
        assert state == bytes([errno.ECONNREFUSED])
    await helper.close()


# Strangers.


async def test_only_the_server_is_let_in(attempt: Attempt, tmp_path: Path) -> None:
    """Bytes that are no handshake, no certificate, and one of another secret."""
    await run(attempt, "true")
    mark = tmp_path / "entered"
    wanted = b'{"argv": ["shim", "session", "--", "touch", "%b"], "env": {}}' % bytes(mark)
    request = b"s" + len(wanted).to_bytes(4) + wanted
    stranger = certificate_of(b"o" * SECRET_BYTES).client_context()
    stranger.verify_mode = ssl.CERT_NONE
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    for context in (None, nobody, stranger):
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on the moment
            await ask(attempt.port(), context, request)
    assert not mark.exists()
    assert await run(attempt, "echo still") == (0, b"still\n")


async def ask(port: int, context: ssl.SSLContext | None, request: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(request)
    if context is None:
        writer.write_eof()
    answer = await soon(reader.read())
    writer.close()
    if b"h\0\0\0" not in answer:
        raise ConnectionResetError


async def test_flood_of_connections_keeps_the_server_out_only_for_a_while(
    tmp_path: Path,
) -> None:
    program = tmp_path / "small.py"
    changed_relay(
        program, ("HANDSHAKES = 64", "HANDSHAKES = 2"), ("E_SECONDS = 10.0", "E_SECONDS = 0.5")
    )
    async with running(tmp_path, str(program)) as attempt:
        await run(attempt, "true")
        async with AsyncExitStack() as stack:
            for _ in range(9):
                _, writer = await asyncio.open_connection("127.0.0.1", attempt.port())
                stack.callback(writer.close)
                writer.write(b"\x16")
            assert await run(attempt, "echo in") == (0, b"in\n")


async def test_request_that_does_not_come_is_not_awaited(attempt: Attempt) -> None:
    """By the server's own key, as a server that hangs would."""
    await run(attempt, "true")
    certificate = await asyncio.to_thread(attempt.server._certificate, attempt.run)
    context = certificate.client_context()
    for request in (b"", b"s", b"s\xff\xff\xff\xff", b"?\0\0\0\0"):
        _, writer = await asyncio.open_connection("127.0.0.1", attempt.port(), ssl=context)
        writer.write(request)
        writer.close()
    assert await run(attempt, "echo in") == (0, b"in\n")


async def test_forged_record_gets_nothing(attempt: Attempt) -> None:
    """Another program listens on the port that the task has recorded: it gets no request, and the
    server lets the shim start a relay of its own."""
    async with recorder() as heard:
        heard.refuse()
        (attempt.folder.run / RECORD).write_text(f"mark={'0' * 32}\nport={heard.port}\n")
        assert await run(attempt, "echo in") == (0, b"in\n")
    assert heard.hello_only(), bytes(heard.data)


async def test_program_on_the_port_of_an_old_relay_that_is_silent(
    attempt: Attempt, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep the server out for as long as it listens."""
    monkeypatch.setattr(entry, "HANDSHAKE_SECONDS", 0.3)
    (attempt.folder.run / RECORD).write_text(f"mark=0\nport={listener.getsockname()[1]}\n")
    assert await run(attempt, "echo in") == (0, b"in\n")


@pytest.mark.parametrize("spoilt", ["", "port=22\n", "port=5000\nport=5001\n", "x" * 5000, None])
async def test_spoilt_record(attempt: Attempt, spoilt: str | None) -> None:
    record = attempt.folder.run / RECORD
    if spoilt is None:
        os.mkfifo(record)
    else:
        record.write_text(spoilt)
    assert await run(attempt, "echo in") == (0, b"in\n")


async def test_relay_that_the_task_replaced_is_not_believed(tmp_path: Path) -> None:
    """It has the key, and answers with what no relay sends."""
    program = tmp_path / "forged.py"
    answers = '    kind = writer.write(b"\\0\\xff\\xff\\xff\\xff" * 9)\n    return\n    try:\n'
    changed_relay(program, ("    try:\n        kind, data =", f"{answers}        kind, data ="))
    async with running(tmp_path, str(program)) as attempt:
        helper: Helper = await soon(attempt.server.enter(attempt.run, RelayCommand("", 9)))
        assert await soon(helper.read()) != b"h\0\0\0\x011"
        assert isinstance(helper, NodePort)
        with closing(await helper.connect()) as near:
            loop = asyncio.get_running_loop()
            assert await soon(loop.sock_recv(near, 1)) == b"\0"
            assert await soon(loop.sock_recv(near, 1)) == b""


# What can go wrong.


async def test_node_that_is_known_late(attempt: Attempt) -> None:
    address, attempt.address = attempt.address, None
    running = asyncio.create_task(run(attempt, "echo in"))
    await until_true(lambda: attempt.looks > 1)
    attempt.address = address
    assert await soon(running) == (0, b"in\n")


async def test_node_that_is_not_known(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "ADDRESS_SECONDS", 0.3)
    attempt.address = None
    with pytest.raises(EnterError, match="its node is unknown"):
        await attempt.server.enter(attempt.run, SessionCommand(("true",)))


@pytest.mark.parametrize("address", ["a..b", "x" * 70 + ".example"])
async def test_address_that_is_no_host_name(attempt: Attempt, address: str) -> None:
    (attempt.folder.run / RECORD).write_text(f"mark={'0' * 32}\nport=5000\n")
    attempt.address = address
    with pytest.raises(
        EnterError, match=r"cannot reach its node .*invalid address of the node: .*NodeAddr"
    ):
        await attempt.server.enter(attempt.run, SessionCommand(("true",)))


async def test_node_that_is_out_of_reach_names_the_setting(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchml.adapters.node_relays.connector.CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(entry, "START_SECONDS", 0.5)
    unreached = r"cannot reach its node \(%s\): .* ports of 127.0.0.1 \(\[slurm\] relay_ports\)"
    with closing(socket.socket()) as full, closing(socket.socket()) as waits:
        # As a firewall that drops packets.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waits.connect(full.getsockname())
        (attempt.folder.run / RECORD).write_text(f"mark=0\nport={full.getsockname()[1]}\n")
        with pytest.raises(EnterError, match=unreached % "no answer"):
            await attempt.server.enter(attempt.run, SessionCommand(("true",)))
    attempt.is_woken = False  # As one that rejects them, while a relay runs.
    with pytest.raises(EnterError, match=unreached % "Connection refused"):
        await attempt.server.enter(attempt.run, SessionCommand(("true",)))


async def test_node_without_python(attempt: Attempt, tmp_path: Path) -> None:
    without = Attempt(tmp_path / "without")
    (tmp_path / "bin").mkdir()
    for name in ("sh", "sleep"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    (tmp_path / "bin/python3").write_text("no program")
    without.start(PATH=str(tmp_path / "bin"))
    # The node's own python3 is found where the task's path has none that runs.
    assert await run(without, "echo in") == (0, b"in\n")
    without.shim.kill()
    without.shim.wait()


async def test_ports_of_the_range_only(attempt: Attempt) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        entries = attempt.entries(ports=f"{port}-{port}")
        with pytest.raises(EnterError, match=f"no port of {port}-{port} is free"):
            await entries.enter(attempt.run, SessionCommand(("true",)))
    helper = await soon(entries.enter(attempt.run, SessionCommand(("true",))))
    await helper.close()
    assert attempt.port() == port


async def test_shim_that_never_starts_it(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt.is_woken = False
    monkeypatch.setattr(entry, "START_SECONDS", 0.5)
    with pytest.raises(EnterError, match="cannot start the relay on its node"):
        await attempt.server.enter(attempt.run, SessionCommand(("true",)))
    assert (attempt.folder.control / "enter").stat().st_mode & 0o777 == 0o600
