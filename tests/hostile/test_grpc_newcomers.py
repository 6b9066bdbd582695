"""gRPC limits headers only after a client has acknowledged its settings. One that never does takes
little memory all the same."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.api.grpc.sockets import connections
from fetchml.api.grpc.sockets.newcomers import (
    BYTES,
    BYTES_BY_ADDRESS,
    BYTES_IN_ALL,
    MEMORY_OF_BYTE,
    NEW_SECONDS,
    Newcomers,
    excess_bytes,
)
from testbed.http2 import (
    CONTINUATION,
    END_HEADERS,
    FRAME_BYTES,
    HEADERS,
    SETTINGS,
    Connection,
    frame,
    header_block,
    message,
)
from tests.hostile.attacked import MIB, Attacked
from tests.support import grpc_world
from tests.support.waiting import wait_until

QUEUE = "fetchml.v1.QueueService/GetQueue"
UPLOAD = "fetchml.v1.SnapshotService/UploadSnapshot"
COOKIE = b"\xa0"
"""A byte that names a whole field of HPACK's static table."""
SECONDS = 120
"""Far more than anything takes."""


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    attacked = Attacked(tmp_path / "data")
    yield attacked
    attacked.close()


def flood(connection: Connection, most: int) -> int:
    """Send headers that do not end until the server closes the connection; returns their bytes."""
    connection.send_raw(frame(HEADERS, 0, 1, header_block(QUEUE, [])))
    sent = 0
    while sent < most and not connection.is_closed:
        connection.send_raw(frame(CONTINUATION, 0, 1, COOKIE * FRAME_BYTES))
        sent += FRAME_BYTES
        connection.look(0.1)  # The interval of the server's looks.
    return sent


def test_headers_without_end_are_closed(attacked: Attacked) -> None:
    before = attacked.memory()
    with Connection(attacked.server.grpc, acknowledges=False) as connection:
        assert flood(connection, 2 * MIB) < 2 * MIB, "headers are kept without end"
        assert attacked.memory() - before < BYTES_IN_ALL * MEMORY_OF_BYTE
    assert attacked.server.log.count("too many bytes over gRPC without a valid key") == 1


def test_acknowledged_limit_of_headers(attacked: Attacked) -> None:
    """The client is answered, and the rest of its headers is dropped."""
    before = attacked.memory()
    with Connection(attacked.server.grpc) as connection:
        stream = connection.call(QUEUE, attacked.bob)
        connection.send(stream, message(b""), last=True)
        assert connection.end_of(stream, SECONDS) == "answered"
        connection.send_raw(frame(HEADERS, 0, 3, header_block(QUEUE, [])))
        for _ in range(512):
            connection.send_raw(frame(CONTINUATION, 0, 3, COOKIE * FRAME_BYTES))
            connection.look()
        connection.send_raw(frame(CONTINUATION, END_HEADERS, 3))
        assert connection.end_of(3, SECONDS) == "reset"
        assert attacked.memory() - before < 16 * MIB


def test_large_first_call_with_a_key_is_served(attacked: Attacked) -> None:
    """More than a newcomer may send, from a client that acknowledges nothing yet."""
    with Connection(attacked.server.grpc, acknowledges=False) as connection:
        stream = connection.call(UPLOAD, attacked.bob)
        data = message(b"\n\x80\x80\x30" + bytes(768 * 1024))  # One chunk of a snapshot.
        sent = 0
        while sent < len(data):
            sent += connection.send(stream, data[sent : sent + FRAME_BYTES], last=False)
            connection.look(0.02)
            assert not connection.is_closed, "the server takes it for a stranger's"
            assert stream not in connection.ended


async def test_settings_must_be_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SETTINGS_SECONDS", 1)
    async with grpc_world.grpc_world(tmp_path) as world:

        def look() -> None:
            with (
                Connection(world.address, acknowledges=False) as silent,
                Connection(world.address) as ordinary,
            ):

                def is_closed() -> bool:
                    silent.look(0.1)
                    ordinary.look()
                    return silent.is_closed or silent.is_closing

                wait_until(is_closed, "settings need no acknowledgement")
                ordinary.send_raw(frame(SETTINGS, 0, 0))
                ordinary.look(0.1)
                assert not ordinary.is_closed
                assert not ordinary.is_closing

        await asyncio.to_thread(look)


@pytest.mark.parametrize(
    ("sent", "excess"),
    [
        ({"ipv4:192.0.2.1:1": BYTES, "ipv4:192.0.2.2:1": BYTES + 1}, {"ipv4:192.0.2.2:1"}),
        # An address has a sum, and of its connections those go that sent most.
        (
            {f"ipv4:192.0.2.1:{n}": BYTES_BY_ADDRESS // 4 + n for n in range(4)},
            {"ipv4:192.0.2.1:3"},
        ),
        # Of IPv6, a /64 network.
        (
            {f"ipv6:%5B2001:db8::{n}%5D:1": BYTES_BY_ADDRESS // 4 + n for n in range(4)},
            {"ipv6:%5B2001:db8::3%5D:1"},
        ),
        ({f"ipv4:192.0.2.{n}:1": BYTES for n in range(1, 4)}, set()),
        (
            {f"ipv4:192.0.2.{n}:1": BYTES_IN_ALL // 4 + n for n in range(4)},
            {"ipv4:192.0.2.3:1"},
        ),
    ],
)
def test_excess_bytes_by_connection_address_and_in_total(
    sent: dict[str, int], excess: set[str]
) -> None:
    assert excess_bytes(sent) == excess


def test_newcomers_are_new_and_without_a_key() -> None:
    now = 0.0
    newcomers = Newcomers(lambda address: address == "10.0.0.5", lambda: now)
    first, second, proxy = "ipv4:192.0.2.1:1", "ipv4:192.0.2.1:2", "ipv4:10.0.0.5:1"

    def found(*peers: str) -> list[str]:
        return newcomers.find(lambda: peers)

    assert found(first, second, proxy) == [first, second]
    newcomers.accept(second)
    assert found(first, second, proxy) == [first]
    assert found(first, second, proxy) == [first], "a key is valid for the connection"
    now = NEW_SECONDS
    assert found(first, second, proxy) == [], "it has acknowledged the settings by now"
    assert found() == []
    assert found(second) == [second], "a new connection may have the same port"
    newcomers.accept(first)

    def look_while_one_is_accepted() -> list[str]:
        newcomers.accept(second)
        return [first, second]

    assert newcomers.find(look_while_one_is_accepted) == [second]
    assert found(first, second) == [], "a key was lost that was accepted during a look"
