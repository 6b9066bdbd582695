"""Where the kernel limits no bytes, those of new gRPC connections are counted."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fetchml.api.grpc.sockets import counting
from fetchml.api.grpc.sockets.counting import ByteCounts, CountedConnection
from tests.support.waiting import wait_until

MOST_BYTES = 8000
Connect = Callable[[int], tuple[CountedConnection, socket.socket]]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[ByteCounts]:
    monkeypatch.setattr(counting, "MOST_BYTES", MOST_BYTES)
    made = ByteCounts()
    yield made
    made.close()


@pytest.fixture
def connect(counts: ByteCounts) -> Iterator[Connect]:
    """Opens a connection over which the client has sent this many bytes. Returns both ends."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def connect(size: int) -> tuple[CountedConnection, socket.socket]:
            client = stack.enter_context(socket.create_connection(listening.getsockname()[:2]))
            server, _ = listening.accept()
            connection = CountedConnection(server, counts, lambda _: None)
            stack.callback(connection.close)
            client.sendall(bytes(size))
            wait_until(lambda: connection.received() >= size, "the bytes do not arrive")
            return connection, client

        yield connect


def is_shut(client: socket.socket) -> bool:
    client.settimeout(0.01)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_those_that_sent_most_are_closed(connect: Connect) -> None:
    half = MOST_BYTES // 2
    (_, small), (_, large) = connect(1000), connect(half)
    (_, over), (_, most) = connect(half + 1), connect(half + 2)
    wait_until(lambda: is_shut(over) and is_shut(most), "they stay open")
    assert not is_shut(small)
    assert not is_shut(large)


def test_connection_with_an_accepted_key_is_not_counted(connect: Connect) -> None:
    accepted, _ = connect(1000)
    accepted.lift()
    _, other = connect(MOST_BYTES - 500)
    _, over = connect(MOST_BYTES)
    wait_until(lambda: is_shut(over), "nothing is counted")
    assert not is_shut(other), "the accepted one is counted"
