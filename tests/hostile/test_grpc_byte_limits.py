"""How many bytes gRPC connections may send before a key of theirs is accepted."""

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from fetchml.api.grpc.sockets import byte_limit
from fetchml.api.grpc.sockets.byte_limit import (
    LimitedConnection,
    UnknownStream,
    hold_accepted,
    unaccepted,
)
from fetchml.api.grpc.sockets.newcomers import (
    BYTES_BY_ADDRESS,
    BYTES_IN_ALL,
    EARLY_BYTES,
    FIRST_BYTES,
    FORGET_SECONDS,
    FULL_SECONDS,
    IDLE_SECONDS,
    LEAST_BYTES,
    NEW_SECONDS,
    PATIENCE_SECONDS,
    Newcomers,
)
from tests.support.waiting import SECONDS, wait_until

DATA = bytes(range(256)) * 1024
LIMIT = 20_000
RECEIVE_WINDOW = 64
"""Position of `tcpi_rcv_ssthresh` in the kernel's `tcp_info`."""


class Accepted:
    """A client, and its connection at the server."""

    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, 0), family=family) as listening:
            buffer_bytes = hold_accepted(listening)
            self.client = socket.create_connection(listening.getsockname()[:2])
            assert unaccepted(listening) == 1
            self.server, _ = listening.accept()
            assert unaccepted(listening) == 0
        self.closed: list[int] = []
        self.limited = LimitedConnection(self.server.dup(), buffer_bytes, self.closed.append)
        self.server.setblocking(False)

    def is_readable(self, seconds: float = 0) -> bool:
        events = select.poll()
        events.register(self.server, select.POLLIN)
        return bool(events.poll(1000 * seconds))

    def read(self, size: int) -> bytes:
        data = b""
        self.server.settimeout(SECONDS)
        while len(data) < size and (more := self.server.recv(size - len(data))):
            data += more
        return data


@pytest.fixture(params=["127.0.0.1", "::1"])
def accepted(request: pytest.FixtureRequest) -> Iterator[Accepted]:
    made = Accepted(request.param)
    with closing(made.client), closing(made.server):
        yield made


def test_connection_is_not_read_until_it_is_opened(accepted: Accepted) -> None:
    accepted.client.sendall(DATA[:200])
    wait_until(lambda: accepted.limited.received() == 200, "nothing arrives")
    assert not accepted.is_readable()
    accepted.limited.open()
    assert accepted.is_readable(30)
    accepted.limited.close()
    assert accepted.closed, "its end is still awaited"


def test_opened_connection_has_an_ordinary_window(accepted: Accepted) -> None:
    """With a small one the client would wait for a round trip after each small packet."""
    accepted.client.sendall(DATA[:200])
    wait_until(lambda: accepted.limited.received() == 200, "nothing arrives")
    accepted.limited.open()
    assert accepted.read(200) == DATA[:200]
    for _ in range(20):
        accepted.client.sendall(DATA[:200])
        assert accepted.read(200) == DATA[:200]
    info = accepted.server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    [window] = struct.unpack_from("=I", info, RECEIVE_WINDOW)
    assert window >= 32 * 1024
    accepted.limited.close()


def test_older_kernel_leaves_the_socket_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown_option = 4000
    monkeypatch.setattr(byte_limit, "_SO_BUF_LOCK", unknown_option)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        options = (socket.SO_RCVBUF, socket.SO_RCVLOWAT)
        before = [listening.getsockopt(socket.SOL_SOCKET, option) for option in options]
        with pytest.raises(OSError, match="not available"):
            hold_accepted(listening)
        assert [listening.getsockopt(socket.SOL_SOCKET, option) for option in options] == before


def test_kernel_that_lets_root_alone_filter_leaves_the_socket_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that is not root would close every connection there."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(byte_limit, "_attach", refuse)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        before = listening.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        with pytest.raises(PermissionError):
            hold_accepted(listening)
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before


def test_bytes_after_the_limit_wait_until_it_is_lifted(accepted: Accepted) -> None:
    accepted.limited.limit(LIMIT)
    accepted.limited.open()
    assert accepted.client.send(DATA) == len(DATA)
    accepted.client.shutdown(socket.SHUT_WR)
    assert accepted.read(LIMIT) == DATA[:LIMIT]
    assert not accepted.is_readable(0.5), "more than the limit, or an early end"
    accepted.limited.limit(LIMIT + 1)
    assert accepted.read(1) == DATA[LIMIT : LIMIT + 1]
    accepted.limited.lift()
    assert accepted.read(len(DATA)) == DATA[LIMIT + 1 :]
    accepted.limited.close()


class Sender:
    """A connection whose client sends as much as it may."""

    def __init__(self, wants: int = 0, early: int = 0) -> None:
        """`early`: bytes that came before there was a limit."""
        self.wants, self.early = wants, early
        self.limits: list[int] = []
        self.is_open = self.is_lifted = self.is_shut = self.is_closed = False

    def limit(self, most: int) -> None:
        self.limits.append(most)

    def received(self) -> int:
        return max(self.early, min(self.wants, max(self.limits, default=0)))

    def open(self) -> None:
        self.is_open = True

    def lift(self) -> None:
        self.is_lifted = True

    def shut_down(self) -> None:
        self.is_shut = True

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.newcomers = Newcomers(lambda address: address == "10.0.0.5", lambda: self.now)
        self.port = 0

    def connect(
        self, address: str = "192.0.2.1", wants: int = 0, early: int = 0
    ) -> tuple[str, Sender]:
        self.port += 1
        peer, sender = f"ipv4:{address}:{self.port}", Sender(wants, early)
        self.newcomers.arrive(peer, sender)
        self.newcomers.check()
        return peer, sender

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.newcomers.check()


@pytest.fixture
def world() -> World:
    return World()


def test_first_connection_may_send_more(world: World) -> None:
    (_, first), (_, second) = world.connect(), world.connect()
    assert (first.limits, second.limits) == ([FIRST_BYTES], [LEAST_BYTES])
    assert first.is_open
    assert second.is_open


def test_idle_connection_leaves_its_bytes_to_the_next(world: World) -> None:
    _, first = world.connect(wants=100)
    world.pass_by(IDLE_SECONDS)
    _, second = world.connect()
    assert (first.limits, second.limits) == ([FIRST_BYTES, LEAST_BYTES], [FIRST_BYTES])


def test_accepted_key_lifts_the_limit(world: World) -> None:
    peer, first = world.connect(wants=FIRST_BYTES)
    world.newcomers.accept(peer)
    assert first.is_lifted
    assert first.is_closed
    _, second = world.connect()
    assert second.limits == [FIRST_BYTES], "its bytes still count"
    world.newcomers.accept(peer)  # With each further call.


def test_key_may_be_accepted_before_the_connection_is_noticed(world: World) -> None:
    """Otherwise it would be limited for ever: an upload is one long call."""
    world.newcomers.accept("ipv4:192.0.2.1:1")
    _, first = world.connect()
    assert (first.limits, first.is_open, first.is_closed) == ([], True, True)
    world.newcomers.accept("ipv4:192.0.2.1:2")
    world.newcomers.all_arrived()
    _, second = world.connect()
    assert second.limits == [FIRST_BYTES], "a new connection may have the same port"


def test_key_may_be_accepted_while_the_connection_waits(world: World) -> None:
    made = [world.connect() for _ in range(100)]
    peer, waiting = next(each for each in made if not each[1].is_open)
    world.newcomers.accept(peer)
    assert waiting.is_open
    assert waiting.is_lifted
    assert waiting.is_closed


def test_old_connection_has_acknowledged_the_settings(world: World) -> None:
    _, first = world.connect(wants=100)
    world.pass_by(NEW_SECONDS)
    assert first.is_lifted
    assert not first.is_shut
    assert world.newcomers.check() is None, "it looks again although there is nothing"


def test_trusted_proxy_is_not_limited(world: World) -> None:
    _, proxy = world.connect("10.0.0.5")
    assert proxy.limits == []
    assert proxy.is_open
    assert proxy.is_closed


def test_full_connection_is_closed(world: World) -> None:
    _, full = world.connect(wants=2 * FIRST_BYTES)
    world.pass_by(0)
    assert not full.is_closed, "its key is being checked"
    world.pass_by(FULL_SECONDS)
    assert [full.is_shut, full.is_closed] == [True, True]


@pytest.mark.parametrize("wants", [100, 2 * FIRST_BYTES])
def test_connections_of_one_address_share_its_bytes(world: World, wants: int) -> None:
    senders = [world.connect(wants=wants)[1] for _ in range(100)]
    opened = [sender for sender in senders if sender.is_open]
    assert 10 < len(opened) < 100
    assert sum(sender.limits[-1] for sender in opened) <= BYTES_BY_ADDRESS
    _, other = world.connect("192.0.2.2")
    assert other.is_open, "another address is kept out"


def test_bytes_of_all_addresses(world: World) -> None:
    made = [world.connect(f"192.0.2.{n}", 2 * FIRST_BYTES)[1] for n in range(1, 251)]
    opened = [sender for sender in made if sender.is_open]
    assert sum(sender.received() for sender in opened) <= BYTES_IN_ALL
    assert [sender.is_shut for sender in opened] == [True] + [False] * (len(opened) - 1), (
        "only the one that had more than the others makes room"
    )


def test_new_address_takes_the_place_of_the_one_that_has_most(world: World) -> None:
    greedy = [world.connect(f"192.0.2.{n % 2}")[1] for n in range(100)]
    _, other = world.connect("198.51.100.1")
    assert other.is_open
    assert sum(sender.is_shut for sender in greedy) == 1


def test_ended_connections_count_for_a_while(world: World) -> None:
    """Otherwise an attacker would connect again and again, faster than memory is freed."""
    for _ in range(100):
        peer, _ = world.connect(wants=2 * FIRST_BYTES)
        world.newcomers.end(peer)
    _, refused = world.connect()
    assert not refused.is_open
    world.pass_by(FORGET_SECONDS)
    assert refused.is_open


def test_waiting_connections_are_admitted_in_order(world: World) -> None:
    admitted = [world.connect() for _ in range(100)]
    waiting = [each for each in admitted if not each[1].is_open]
    assert all(not sender.is_shut for _, sender in waiting)
    assert world.newcomers.check() is not None
    world.newcomers.accept(admitted[0][0])
    world.pass_by(0)
    assert waiting[0][1].is_open
    assert not waiting[-1][1].is_open
    world.newcomers.end(waiting[-1][0])
    assert waiting[-1][1].is_closed
    world.pass_by(PATIENCE_SECONDS)
    assert waiting[1][1].is_open, "idle connections keep out others for long"
    assert admitted[1][1].is_shut


def test_connection_that_sent_before_it_had_to_wait_is_closed(world: World) -> None:
    for _ in range(100):
        world.connect()
    _, small = world.connect(early=EARLY_BYTES)
    _, large = world.connect(early=EARLY_BYTES + 1)
    assert not small.is_shut
    assert large.is_shut
    assert large.is_closed
    assert not large.is_open


def test_connection_that_has_to_wait_is_closed_if_it_cannot_be_limited(world: World) -> None:
    """It would be read bit by bit without a limit."""

    class Unknown(Sender):
        def limit(self, most: int) -> None:
            raise UnknownStream

    for _ in range(100):
        world.connect()
    unknown = Unknown()
    world.newcomers.arrive("ipv4:192.0.2.1:5000", unknown)
    world.newcomers.check()
    assert unknown.is_shut
    assert unknown.is_closed


@pytest.mark.parametrize("times", [1, 100])
def test_peer_that_arrives_again_gives_back_what_it_had(world: World, times: int) -> None:
    """Its old connection has ended unnoticed, or is to another address of this host."""
    peer, sender = world.connect(wants=FIRST_BYTES)
    for _ in range(times):
        again = Sender()
        world.newcomers.arrive(peer, again)
        assert (sender.is_shut, sender.is_closed) == (True, True)
        sender = again
        world.newcomers.check()
    world.pass_by(FORGET_SECONDS)
    assert sender.is_open
    world.newcomers.accept(peer)
    _, other = world.connect()
    assert other.limits == [FIRST_BYTES], "bytes of no connection count"
