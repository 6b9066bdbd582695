"""Where the kernel limits no bytes, those of new gRPC connections are counted."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fetchml.api.grpc.sockets import byte_limit, counting
from fetchml.api.grpc.sockets.counting import MOST_BYTES, ByteCounts, CountedConnection
from testbed.header_flood import attack
from tests.support.grpc_world import grpc_world
from tests.support.waiting import wait_until


@pytest.fixture
def counts() -> Iterator[ByteCounts]:
    made = ByteCounts()
    yield made
    made.close()


@pytest.fixture
def connect(
    counts: ByteCounts,
) -> Iterator[Callable[[int], tuple[CountedConnection, socket.socket]]]:
    """Makes a connection over which so many bytes have come."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def connect(size: int) -> tuple[CountedConnection, socket.socket]:
            client = stack.enter_context(socket.create_connection(listening.getsockname()[:2]))
            server = stack.enter_context(listening.accept()[0])
            server.setblocking(False)
            client.sendall(bytes(size))
            connection = CountedConnection(server.dup(), counts, lambda _: None)
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


def test_those_that_sent_most_are_closed(
    connect: Callable[[int], tuple[CountedConnection, socket.socket]],
) -> None:
    half = MOST_BYTES // 2
    made = [connect(size) for size in (1000, half, half + 1000, half + 2000)]
    wait_until(lambda: is_shut(made[2][1]) and is_shut(made[3][1]), "they stay open")
    assert not is_shut(made[0][1])
    assert not is_shut(made[1][1])
    for connection, _ in made:
        connection.close()


def test_accepted_key_ends_the_count(
    connect: Callable[[int], tuple[CountedConnection, socket.socket]],
) -> None:
    accepted, client = connect(1000)
    accepted.lift()
    accepted.close()
    client.sendall(bytes(MOST_BYTES))
    other, _ = connect(MOST_BYTES - 1000)
    over, last = connect(2000)
    wait_until(lambda: is_shut(last) or is_shut(_), "nothing is counted")
    assert not is_shut(client)
    other.close()
    over.close()
