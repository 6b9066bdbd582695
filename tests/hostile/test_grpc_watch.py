"""A connection that waits for its limit is found and read, whatever happens meanwhile."""

import errno
import ipaddress
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from fetchml.api.grpc.sockets import watch
from fetchml.api.grpc.sockets.newcomers import Newcomers
from fetchml.api.grpc.sockets.own_sockets import NewConnection, OwnConnections
from fetchml.api.grpc.sockets.peers import address_of
from fetchml.api.grpc.sockets.watch import ConnectionWatch
from tests.support.waiting import soon, until_true

HELLO = b"hello"


class Port:
    """A watched port, whose connections the test accepts as gRPC does: among its own files."""

    def __init__(self) -> None:
        self.opened = ExitStack()
        self.listening = self.opened.enter_context(socket.create_server(("", 0)))
        self.newcomers = Newcomers(lambda _: False)
        self.watch = ConnectionWatch(self.listening.getsockname()[1], self.newcomers, no_excess)

    def connect(
        self, own: tuple[str, int] = ("127.0.0.1", 0), host: str = "127.0.0.1"
    ) -> socket.socket:
        client = self.opened.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(own)
        client.connect((host, self.listening.getsockname()[1]))
        client.sendall(HELLO)
        return client

    def accept(self) -> socket.socket:
        return self.opened.enter_context(self.listening.accept()[0])

    def close(self) -> None:
        self.watch.close()
        self.opened.close()


def no_excess(_: Collection[str]) -> set[str]:
    return set()


def is_readable(connection: socket.socket) -> bool:
    events = select.poll()
    events.register(connection, select.POLLIN)
    return bool(events.poll(0))


def link_addresses() -> Iterator[str]:
    """Yield this host's link-local addresses with their links, as gRPC takes them."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        address, link, _, scope, flags, _ = line.split()
        if scope == "20" and not int(flags, 16) & 0x40:  # Not a tentative one.
            groups = ":".join(address[n : n + 4] for n in range(0, 32, 4))
            yield f"{ipaddress.ip_address(groups)}%25{int(link, 16)}"


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    port = Port()
    yield port
    port.close()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Times of the looks, of which there are few."""
    real, times = OwnConnections.look, list[float]()

    def look(self: OwnConnections) -> list[NewConnection]:
        times.append(time.monotonic())
        return real(self)

    monkeypatch.setattr(OwnConnections, "look", look)
    monkeypatch.setattr(watch, "LOOK_AGAIN_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(watch, "SPIN_SECONDS", 0.0)
    monkeypatch.setattr(watch, "MOST_AWAITED_SECONDS", 0.0)
    return times


async def test_connection_is_found_however_late_it_is_accepted(
    looks: list[float], port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it is not listed among the files at once."""
    look = OwnConnections.look

    def miss(self: OwnConnections) -> list[NewConnection]:
        monkeypatch.setattr(OwnConnections, "look", look)
        return []

    port.connect()
    before = len(looks)
    await until_true(lambda: len(looks) >= before + 2)  # Those that its arrival causes are over.
    monkeypatch.setattr(OwnConnections, "look", miss)
    accepted = port.accept()
    await until_true(lambda: is_readable(accepted))
    assert accepted.recv(100) == HELLO


async def test_connection_is_found_while_another_one_waits_to_be_accepted(
    looks: list[float], port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a flood of connections there is always one."""
    monkeypatch.setattr(watch, "LOOK_AGAIN_SECONDS", (3600,))  # After the flood.
    await until_true(lambda: looks)
    port.connect()
    port.connect()
    accepted = port.accept()
    await until_true(lambda: is_readable(accepted))


async def test_connection_is_found_once_the_process_may_open_files_again(
    looks: list[float],
    port: Port,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def dup(number: int) -> int:
        if len(looks) < 8:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(number)

    real = os.dup
    monkeypatch.setattr(os, "dup", dup)
    port.connect()
    accepted = port.accept()
    await until_true(lambda: is_readable(accepted))
    assert 0 < caplog.text.count("cannot inspect gRPC connections") < len(looks)


async def test_connection_whose_end_cannot_be_awaited_is_closed(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def register(self, *_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(port.watch, "_events", Full())
        port.connect()
        refused = port.accept()
        await until_true(lambda: is_readable(refused))
    port.connect()
    accepted = port.accept()
    await until_true(lambda: is_readable(accepted))


async def test_connections_from_one_port_to_many_addresses_use_bounded_bytes(port: Port) -> None:
    """gRPC gives them one name. Were the earlier ones forgotten, their bytes would keep out all
    clients for ever."""
    own = ("127.0.0.1", port.connect().getsockname()[1])
    port.accept()
    for number in range(2, 40):
        port.connect(own, f"127.0.0.{number}")
        accepted = port.accept()
        await until_true(partial(is_readable, accepted))
    assert accepted.recv(100) == HELLO


async def test_link_local_client_has_the_name_that_grpc_gives_it() -> None:
    link = next((each for each in link_addresses()), None)
    if link is None:
        pytest.skip("this host has no link-local address")
    peers = list[str]()

    async def answer(_: bytes, context: Any) -> bytes:
        peers.append(context.peer())
        return b""

    server = grpc.aio.server()
    method: Any = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a", {"b": method})])
    port = server.add_insecure_port("[::]:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"ipv6:[{link}]:{port}") as channel:
            call: Any = channel.unary_unary("/a/b")
            await soon(call(b""))
            found = OwnConnections(port).look()
    finally:
        await server.stop(0)
    for each in found:
        each.socket.close()
    assert peers[0] in [each.peer for each in found]
    assert address_of(peers[0]) == link.replace("%25", "%")
